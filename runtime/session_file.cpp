#include "runtime/session_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "base/file.h"

namespace dgq {
namespace {

constexpr std::array<char, 8> kMagic = {'D', 'G', 'Q', 'K', 'V', 'S', 'E', 'Q'};
constexpr std::uint32_t kFormat = 1;

struct Head {
  std::array<char, 8> magic;
  std::uint32_t format, type;
  Digest version;
  std::uint64_t positions;
};
static_assert(sizeof(Head) == 56 && std::endian::native == std::endian::little);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t payload_bytes(Session& session, std::uint64_t positions) {
  std::uint64_t bytes = positions * sizeof(std::int32_t);
  for (const auto part : session.cache().parts(positions - 1)) bytes += part.size();
  return bytes;
}

}  // namespace

Result<void> save_session(Session& session, std::span<const std::int32_t> tokens, const Digest& version,
                          const std::filesystem::path& path) {
  if (tokens.empty() || tokens.size() != session.position())
    return Error{Errc::invalid, path.string() + ": there is nothing to save: the sequence is empty"};
  DGQ_TRY(AtomicFile file, AtomicFile::create(path));
  Sha256 hash;
  const auto append = [&](std::span<const std::byte> bytes) {
    hash.update(bytes);
    return file.append(bytes);
  };
  const Head head{kMagic, kFormat, static_cast<std::uint32_t>(session.cache().type()), version,
                  tokens.size()};
  DGQ_CHECK(append(bytes_of(head)));
  DGQ_CHECK(append(std::as_bytes(tokens)));
  for (const auto part : session.cache().parts(tokens.size() - 1)) DGQ_CHECK(append(part));
  DGQ_CHECK(file.append(bytes_of(hash.finish())));
  return file.commit();
}

Result<std::vector<std::int32_t>> load_session(Session& session, const Digest& version,
                                               const std::filesystem::path& path) {
  DGQ_TRY(const MappedFile file, MappedFile::open(path));
  const auto refuse = [&](Errc code, const std::string& what) { return Error{code, path.string() + what}; };
  std::span<const std::byte> rest = file.bytes();
  Head head{};
  Digest digest;
  if (rest.size() < sizeof(head) + sizeof(digest)) return refuse(Errc::corrupt, " is not a saved session");
  std::memcpy(&head, rest.data(), sizeof(head));
  if (head.magic != kMagic) return refuse(Errc::corrupt, " is not a saved session");
  if (head.format != kFormat)
    return refuse(Errc::unsupported, " has format " + std::to_string(head.format) + ": made by a newer dgq");
  std::memcpy(&digest, rest.data() + rest.size() - sizeof(digest), sizeof(digest));
  rest = rest.first(rest.size() - sizeof(digest));
  if (sha256(rest) != digest) return refuse(Errc::corrupt, " is damaged: its bytes do not match its digest");
  if (head.version != version)
    return refuse(Errc::invalid, " was saved with version " + head.version.short_hex() + ", this one is " +
                                     version.short_hex());
  if (head.type != static_cast<std::uint32_t>(session.cache().type()))
    return refuse(Errc::invalid, " was saved with another type of KV cache");
  if (head.positions == 0 || head.positions > session.context())
    return refuse(Errc::invalid, " has " + std::to_string(head.positions) + " tokens, the context is " +
                                     std::to_string(session.context()));
  rest = rest.subspan(sizeof(head));
  if (rest.size() != payload_bytes(session, head.positions))
    return refuse(Errc::corrupt, " has the wrong length");
  std::vector<std::int32_t> tokens(head.positions);
  std::memcpy(tokens.data(), rest.data(), tokens.size() * sizeof(std::int32_t));
  DGQ_CHECK(session.check(tokens));
  rest = rest.subspan(tokens.size() * sizeof(std::int32_t));
  for (const auto part : session.cache().parts(tokens.size() - 1)) {
    std::memcpy(part.data(), rest.data(), part.size());
    rest = rest.subspan(part.size());
  }
  session.resume(tokens.size() - 1);
  DGQ_CHECK(session.append(tokens.back()));
  return tokens;
}

}  // namespace dgq
