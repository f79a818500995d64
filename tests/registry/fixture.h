// tests/registry/fixture.h - a registry in a folder of its own, and models to put into it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <random>

#include "registry/layer_blob.h"
#include "registry/layer_cache.h"
#include "registry/registry.h"
#include "registry/sqlite.h"
#include "tests/support/command.h"
#include "tests/support/not_covered.h"

namespace dgq::test {

// EXPECT that says the Error's line when it fails.
#define EXPECT_OK(...)                                          \
  do {                                                          \
    const auto& outcome_ = (__VA_ARGS__);                       \
    EXPECT_TRUE(outcome_.has_value()) << outcome_.error().what; \
  } while (false)

using Bytes = std::vector<std::byte>;

// 4-bit-like values (binomial, 0..15): zstd can gain a little, as with real weights. The same seed gives the
// same bytes.
inline Bytes pseudo_weights(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    const std::uint32_t bits = random();
    byte = static_cast<std::byte>(std::popcount(bits & 0x7fff) | std::popcount(bits >> 17) << 4);
  }
  return bytes;
}

// Bytes that zstd cannot shrink.
inline Bytes noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// What a fine-tune that changes 5 % of the groups (of 128 columns) makes of n16k8 weights: of a block of 16 rows by 128 columns
// (16 steps of 64 bytes), 4 bytes per step belong to one group.
inline Bytes fine_tuned(Bytes bytes, unsigned seed, double changed = 0.05) {
  constexpr std::size_t kStep = 64, kSteps = 16, kGroupBytes = 4;
  std::mt19937 random(seed);
  const Bytes fresh = pseudo_weights(bytes.size(), seed + 1);
  for (std::size_t block = 0; block + kSteps * kStep <= bytes.size(); block += kSteps * kStep)
    for (std::size_t row = 0; row < kStep; row += kGroupBytes) {
      if (static_cast<double>(random()) >= changed * 4294967296.0) continue;
      for (std::size_t at = block + row; at < block + kSteps * kStep; at += kStep)
        std::memcpy(&bytes[at], &fresh[at], kGroupBytes);
    }
  return bytes;
}

struct Blob {
  std::string name;
  Bytes bytes;
};
using Model = std::vector<Blob>;

inline Model model(unsigned seed, std::size_t layers = 3, std::size_t layer_bytes = 100'000) {
  Model blobs;
  for (unsigned i = 0; i < layers; ++i)
    blobs.push_back({"layers." + std::to_string(i), pseudo_weights(layer_bytes, seed * 1000 + i)});
  return blobs;
}

inline Result<Digest> add(Registry& registry, const std::string& name, const Model& blobs) {
  DGQ_TRY(const ModelRef ref, ModelRef::parse(name));
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  Manifest manifest;
  manifest.config = {{"architectures", {"LlamaForCausalLM"}}, {"hidden_size", 64}};
  for (const Blob& blob : blobs) {
    DGQ_TRY(BlobRef stored, ingest.add_blob(blob.name, "layer", blob.bytes));
    manifest.blobs.push_back(std::move(stored));
  }
  return ingest.commit(manifest, ref);
}

inline Result<Bytes> read_all(Registry& registry, const Digest& digest) {
  Bytes bytes;
  DGQ_CHECK(registry.read_blob(digest, [&](std::span<const std::byte> chunk) -> Result<void> {
    bytes.insert(bytes.end(), chunk.begin(), chunk.end());
    return {};
  }));
  return bytes;
}

// Every blob of the named version reads back as in `blobs`.
inline void expect_whole(Registry& registry, const std::string& name, const Model& blobs) {
  const auto version = registry.resolve(name);
  ASSERT_TRUE(version) << version.error().what;
  ASSERT_EQ(version->manifest.blobs.size(), blobs.size());
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    const auto bytes = read_all(registry, version->manifest.blobs[i].digest);
    ASSERT_TRUE(bytes) << bytes.error().what;
    EXPECT_TRUE(*bytes == blobs[i].bytes) << name << " " << blobs[i].name;
  }
}

inline void expect_no_faults(Registry& registry) {
  const auto report = registry.verify();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(report->faults.empty()) << report->faults.front();
}

// One line for a person: no line breaks, and it names `what`.
inline void expect_clear(const Error& error, Errc code, const std::string& what) {
  EXPECT_EQ(error.code, code) << error.what;
  EXPECT_EQ(error.what.find('\n'), std::string::npos) << error.what;
  EXPECT_NE(error.what.find(what), std::string::npos) << error.what;
}

class RegistryFixture : public testing::Test {
 protected:
  std::filesystem::path path() const { return scratch_ / "registry.db"; }
  Registry open(Registry::Mode mode = Registry::Mode::read_write) {
    auto registry = Registry::open(path(), mode, mode == Registry::Mode::read_write);
    if (!registry) throw std::runtime_error(registry.error().what);
    return std::move(*registry);
  }
  // SQL from outside, as a vandal or an old bug would.
  void sql(const std::string& text) {
    auto db = sqlite::Db::open(path(), sqlite::Db::Access::read_write, 1000);
    ASSERT_TRUE(db) << db.error().what;
    EXPECT_OK((*db)->script(text.c_str()));
  }
  std::uint64_t sql_integer(const char* text) {
    auto db = sqlite::Db::open(path(), sqlite::Db::Access::read_write, 1000);
    return static_cast<std::uint64_t>(*(*db)->integer(text));
  }
  // Flips one bit in the middle of the stored bytes of a blob's chunk.
  void flip_stored_byte(const Digest& blob, std::int64_t chunk = 0) {
    auto db = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_write, 1000));
    Bytes data;
    {
      auto row = db->query(
          "SELECT data FROM chunk WHERE position = ? AND blob = (SELECT id FROM blob WHERE digest = ?)",
          chunk, blob);
      ASSERT_TRUE(row && *row->step());
      data.assign(row->blob(0).begin(), row->blob(0).end());
    }
    data[data.size() / 2] ^= std::byte{1};
    EXPECT_OK(db->run(
        "UPDATE chunk SET data = ? WHERE position = ? AND blob = (SELECT id FROM blob WHERE digest = ?)",
        std::span<const std::byte>(data), chunk, blob));
  }
  ScratchFolder scratch_;
};

// Runs `body` in a process of its own; its exit code is 0 when body returns true.
template <class Body>
pid_t start_child(const Body& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  bool good = false;
  try {
    good = body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
  }
  ::_exit(good ? 0 : 1);
}

inline int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// As a user who is not root, in a process of its own: permissions do not bind root.
template <class Body>
bool as_ordinary_user(const Body& body) {
  return wait_for(start_child([&] {
           constexpr uid_t kNobody = 65534;
           if (::geteuid() == 0 && (::setegid(kNobody) != 0 || ::seteuid(kNobody) != 0)) return false;
           return body();
         })) == 0;
}

}  // namespace dgq::test
