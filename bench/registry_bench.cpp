#include "bench/registry_bench.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <chrono>
#include <random>

#include "registry/chunk.h"
#include "registry/layer_cache.h"

namespace dgq::bench {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

double cpu_now_s() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Time {
  double seconds = 0, cpu_s = 0;
};

template <class Operation>
Result<Time> time_of(const Operation& operation) {
  const double cpu = cpu_now_s();
  const auto started = std::chrono::steady_clock::now();
  DGQ_CHECK(operation());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  return Time{took.count(), cpu_now_s() - cpu};
}

// Nibbles with a binomial distribution, as packed weights have them; or bytes that zstd cannot shrink.
Bytes layer(std::size_t size, unsigned seed, bool weights) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    const std::uint64_t bits = random();
    byte = static_cast<std::byte>(
        weights ? std::popcount(bits & 0x7fff) | std::popcount(bits >> 17 & 0x7fff) << 4 : bits);
  }
  return bytes;
}

// A folder of its own, removed at the end.
class WorkFolder {
 public:
  static Result<WorkFolder> make(const fs::path& where) {
    std::string name = (where / "dgq-bench-XXXXXX").string();
    if (!::mkdtemp(name.data())) return errno_error("create a folder in", where, errno);
    return WorkFolder(name);
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  explicit WorkFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

Result<void> plain_copy(const fs::path& folder, const std::vector<Bytes>& layers) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const fs::path file = folder / std::to_string(i);
    const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) return errno_error("create", file, errno);
    for (std::span<const std::byte> rest = layers[i]; !rest.empty();) {
      const ssize_t put = ::write(fd.get(), rest.data(), std::min(rest.size(), kChunkBytes));
      if (put < 0) return errno_error("write", file, errno);
      rest = rest.subspan(static_cast<std::size_t>(put));
    }
    if (::fsync(fd.get()) != 0) return errno_error("sync", file, errno);
  }
  return {};
}

Result<Manifest> add(Registry& registry, const std::vector<Bytes>& layers) {
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  Manifest manifest;
  manifest.config = {{"hidden_size", 64}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    DGQ_TRY(BlobRef blob, ingest.add_blob("layers." + std::to_string(i), "layer", layers[i]));
    manifest.blobs.push_back(std::move(blob));
  }
  DGQ_TRY(const ModelRef name, ModelRef::parse("bench"));
  DGQ_CHECK(ingest.commit(manifest, name));
  return manifest;
}

Result<void> materialise(Registry& registry, const fs::path& cache, const Manifest& manifest) {
  for (const BlobRef& blob : manifest.blobs) DGQ_CHECK(LayerCache(cache).materialise(registry, blob));
  return {};
}

Result<void> import_file(Registry& registry, const fs::path& bundle) {
  const Fd fd(::open(bundle.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open", bundle, errno);
  DGQ_CHECK(registry.import_bundle(
      [&](std::span<std::byte> into) { return read_some(fd.get(), into, bundle); }, bundle.string()));
  return {};
}

Result<void> export_file(Registry& registry, const fs::path& bundle) {
  DGQ_TRY(AtomicFile file, AtomicFile::create(bundle));
  DGQ_CHECK(registry.export_bundle({"bench"}, {}, [&](auto bytes) { return file.append(bytes); }));
  return file.commit();
}

// What zstd costs, alone: encoding all chunks, and decoding those that the registry stores encoded.
struct Zstd {
  Time encode, decode;
};

Result<Zstd> time_zstd(const std::vector<Bytes>& layers) {
  ChunkEncoder encoder;
  ChunkDecoder decoder;
  Zstd zstd;
  for (const Bytes& bytes : layers)
    for (std::span<const std::byte> rest = bytes; !rest.empty();) {
      const auto raw = rest.first(std::min(kChunkBytes, rest.size()));
      ChunkEncoder::Chunk chunk{};
      DGQ_TRY(const Time encode, time_of([&]() -> Result<void> {
                chunk = encoder.encode(raw);
                return {};
              }));
      zstd.encode.seconds += encode.seconds;
      zstd.encode.cpu_s += encode.cpu_s;
      if (chunk.codec == ChunkCodec::zstd) {
        DGQ_TRY(const Time decode, time_of([&]() -> Result<void> {
                  DGQ_CHECK(decoder.decode(1, static_cast<std::int64_t>(raw.size()), chunk.stored));
                  return {};
                }));
        zstd.decode.seconds += decode.seconds;
        zstd.decode.cpu_s += decode.cpu_s;
      }
      rest = rest.subspan(raw.size());
    }
  return zstd;
}

// The rows of one kind of data, which grow by one sample per repetition.
class Rows {
 public:
  Rows(std::string data, std::vector<RegistryBenchRow>& rows) : data_(std::move(data)), rows_(rows) {}
  void limit(const char* operation, const Time& time) { row(operation, "").add(time); }
  void ratio(const char* operation, const Time& time, const char* limit, const Time& of_limit,
             double zstd_s) {
    Row row = this->row(operation, limit);
    row.add(time);
    row.it.zstd_s.push_back(zstd_s);
    row.it.ratio.push_back(of_limit.seconds / std::max(1e-9, time.seconds - zstd_s));
    row.it.ratio_with_zstd.push_back(of_limit.seconds / time.seconds);
  }

 private:
  struct Row {
    RegistryBenchRow& it;
    void add(const Time& time) { it.seconds.push_back(time.seconds), it.cpu_s.push_back(time.cpu_s); }
  };
  Row row(const char* operation, const char* limit) {
    for (RegistryBenchRow& row : rows_)
      if (row.data == data_ && row.operation == operation) return {row};
    rows_.push_back({data_, operation, limit, {}, {}, {}, {}, {}});
    return {rows_.back()};
  }
  std::string data_;
  std::vector<RegistryBenchRow>& rows_;
};

// One repetition. Each operation follows a measurement of its own of what it is compared with: how fast files can be written
// changes with what was written before.
class Repetition {
 public:
  Repetition(const std::vector<Bytes>& layers, const WorkFolder& folder, Rows rows)
      : layers_(layers), folder_(folder), rows_(std::move(rows)) {}

  Result<void> run() {
    DGQ_TRY(zstd_, time_zstd(layers_));
    rows_.limit("zstd encode", zstd_.encode);
    rows_.limit("zstd decode", zstd_.decode);
    const fs::path cache = folder_ / "cache", bundle = folder_ / "bench.dgqb";
    DGQ_TRY(Registry registry, Registry::open(folder_ / "registry.db", Registry::Mode::read_write, true));
    Manifest manifest;
    DGQ_CHECK(beside_copy("add", zstd_.encode, [&]() -> Result<void> {
      DGQ_TRY(manifest, add(registry, layers_));
      return {};
    }));
    const auto materialise_all = [&] { return materialise(registry, cache, manifest); };
    DGQ_CHECK(beside_copy("materialise", zstd_.decode, materialise_all));
    DGQ_CHECK(beside_copy("materialise again", {}, materialise_all));
    DGQ_CHECK(beside_hash("verify", zstd_.decode, [&]() -> Result<void> {
      DGQ_TRY(const VerifyReport report, registry.verify());
      return report.faults.empty() ? Result<void>() : Error{Errc::corrupt, report.faults.front()};
    }));
    DGQ_CHECK(beside_copy("export", zstd_.decode, [&] { return export_file(registry, bundle); }));
    DGQ_TRY(Registry other, Registry::open(folder_ / "other.db", Registry::Mode::read_write, true));
    return beside_copy("import", zstd_.decode, [&] { return import_file(other, bundle); });
  }

 private:
  template <class Operation>
  Result<void> beside_copy(const char* name, const Time& zstd, const Operation& operation) {
    const fs::path copies = folder_ / "copy";
    DGQ_CHECK(make_folder(copies));
    DGQ_TRY(const Time copy, time_of([&] { return plain_copy(copies, layers_); }));
    std::error_code ignored;
    fs::remove_all(copies, ignored);
    return compare(name, zstd, "copy", copy, operation);
  }
  template <class Operation>
  Result<void> beside_hash(const char* name, const Time& zstd, const Operation& operation) {
    DGQ_TRY(const Time hash, time_of([&]() -> Result<void> {
              for (const Bytes& bytes : layers_) static_cast<void>(sha256(bytes));
              return {};
            }));
    return compare(name, zstd, "sha256", hash, operation);
  }
  template <class Operation>
  Result<void> compare(const char* name, const Time& zstd, const char* limit, const Time& of_limit,
                       const Operation& operation) {
    rows_.limit(limit, of_limit);
    DGQ_TRY(const Time time, time_of(operation));
    rows_.ratio(name, time, limit, of_limit, zstd.seconds);
    return {};
  }

  const std::vector<Bytes>& layers_;
  const WorkFolder& folder_;
  Rows rows_;
  Zstd zstd_;
};

}  // namespace

Result<RegistryBenchReport> bench_registry(const RegistryBenchOptions& options, const Progress& progress) {
  RegistryBenchReport report{options.bytes, {}};
  for (const bool weights : {false, true}) {
    std::vector<Bytes> layers;
    for (std::size_t left = options.bytes; left > 0;) {
      const std::size_t size = std::min(left, options.layer_bytes);
      layers.push_back(layer(size, static_cast<unsigned>(layers.size()), weights));
      left -= size;
    }
    const char* data = weights ? "zstd" : "raw";
    for (int repetition = 0; repetition < options.repetitions; ++repetition) {
      progress(data, (static_cast<double>(repetition) / options.repetitions + weights) / 2);
      DGQ_TRY(const WorkFolder folder, WorkFolder::make(options.folder));
      DGQ_CHECK(Repetition(layers, folder, Rows(data, report.rows)).run());
    }
  }
  return report;
}

}  // namespace dgq::bench
