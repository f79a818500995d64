// A model of the shape of Llama 2 70B is added, checked and materialised in little memory. The blobs are as long as real ones but
// hold next to nothing, so that one of each takes seconds; DGQ_LARGE_LAYERS=80 makes it the whole model (2 minutes).
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

constexpr std::uint64_t kMaxRssBytes = 256 << 20;
// hidden 8192, 8 of 64 heads for keys and values, ffn 28672, vocabulary 128256; layers at 4.35 bits per weight, head at 8.
constexpr std::uint64_t kLayerBytes =
    (2 * 8192ull * 8192 + 2 * 8192ull * 1024 + 3 * 8192ull * 28672) * 435 / 800;
constexpr std::uint64_t kHeadBytes = 8192ull * 128256;
static_assert(kHeadBytes > 1'000'000'000);  // SQLite's limit for a row

// Sparse, and unlike any other of its number.
Result<MappedFile> make_blob(const std::filesystem::path& path, std::uint64_t bytes, std::uint64_t number) {
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return errno_error("make", path, errno);
  for (std::uint64_t at = 0; at + 16 <= bytes; at += kLayerBytes / 16) {
    const std::uint64_t words[] = {number, at};
    if (::pwrite(fd.get(), words, sizeof(words), static_cast<off_t>(at)) != sizeof(words))
      return errno_error("write", path, errno);
  }
  return MappedFile::open(path);
}

class LargeModel : public RegistryFixture {
 protected:
  Result<Manifest> add_all(Registry& registry, std::uint64_t layers) {
    DGQ_TRY(Ingest ingest, registry.begin_ingest());
    Manifest manifest;
    manifest.config = {{"hidden_size", 8192}};
    for (std::uint64_t i = 0; i <= layers; ++i) {
      const bool head = i == layers;
      DGQ_TRY(const MappedFile file, make_blob(scratch_ / "blob", head ? kHeadBytes : kLayerBytes, i));
      DGQ_TRY(BlobRef blob, ingest.add_blob(head ? "head" : "layers." + std::to_string(i), "layer", file));
      manifest.blobs.push_back(std::move(blob));
    }
    DGQ_TRY(const ModelRef name, ModelRef::parse("large"));
    DGQ_CHECK(ingest.commit(manifest, name));
    return manifest;
  }

  Result<void> add_check_and_materialise(std::uint64_t layers) {
    DGQ_TRY(Registry registry, Registry::open(path(), Registry::Mode::read_write, true));
    DGQ_TRY(const Manifest manifest, add_all(registry, layers));
    DGQ_CHECK(add_all(registry, layers));  // again: compares
    DGQ_TRY(const VerifyReport report, registry.verify());
    if (!report.faults.empty()) return Error{Errc::corrupt, report.faults.front()};
    DGQ_TRY(const LayerCache::Entry entry,
            LayerCache(scratch_ / "layers").materialise(registry, manifest.blobs.front()));
    if (entry.file.bytes().size() != kLayerBytes) return Error{Errc::corrupt, "the layer file is too short"};
    return {};
  }
};

TEST_F(LargeModel, TakesLittleMemory) {
  if (!memory_counts()) return not_covered("a 70B-shaped model in 256 MiB (sanitizer or emulator)");
  const char* layers = std::getenv("DGQ_LARGE_LAYERS");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto done = add_check_and_materialise(layers ? std::strtoull(layers, nullptr, 10) : 1);
    if (!done) std::fprintf(stderr, "%s\n", done.error().what.c_str());
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  rusage usage{};
  ASSERT_EQ(::wait4(child, &status, 0, &usage), child);
  ASSERT_EQ(status, 0);
  EXPECT_LT(static_cast<std::uint64_t>(usage.ru_maxrss) * 1024, kMaxRssBytes);
  std::printf("at most %ld MiB\n", usage.ru_maxrss / 1024);
  EXPECT_LE(sql_integer("SELECT max(raw_bytes) FROM chunk"), 4u << 20);
  EXPECT_LE(sql_integer("SELECT max(length(data)) FROM chunk"), 4u << 20);
}

}  // namespace
}  // namespace dgq::test
