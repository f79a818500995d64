#include "quantizer/container.h"

#include <algorithm>

namespace dgq {

void hash_piecewise(std::span<const std::byte> mapped, Sha256& hash) {
  constexpr std::size_t kPiece = std::size_t{8} << 20;
  for (std::size_t begin = 0; begin < mapped.size(); begin += kPiece) {
    const auto piece = mapped.subspan(begin, std::min(kPiece, mapped.size() - begin));
    hash.update(piece);
    forget_pages(piece);
  }
}

std::vector<FileDigest> file_digests(const Container& files) {
  std::vector<FileDigest> digests = files.texts;
  for (const auto& [path, map] : files.maps) {
    Sha256 hash;
    hash_piecewise(map.bytes(), hash);
    digests.push_back({path.filename().string(), hash.finish()});
  }
  return digests;
}

}  // namespace dgq
