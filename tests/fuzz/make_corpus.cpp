// Writes the seeds of fuzz targets that are no texts: make_corpus FOLDER. Good files of each format, and broken ones at the places
// where sizes are believed: zstd frames that declare or unfold to more than a chunk, counts and lengths far beyond the file.
#include <cstdio>
#include <filesystem>

#include "registry/bundle.h"
#include "registry/chunk.h"
#include "registry/layer_blob.h"
#include "runtime/gguf_carrier.h"
#include "tests/support/gguf_writer.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

template <class T>
std::string with(std::string bytes, std::size_t at, T value) {
  return bytes.replace(at, sizeof value, little_endian(value));
}

class Corpus {
 public:
  explicit Corpus(fs::path folder) : folder_(std::move(folder)) {}
  void add(const std::string& target, const std::string& name, const std::string& bytes) const {
    fs::create_directories(folder_ / target);
    write_text(folder_ / target / name, bytes);
  }

 private:
  fs::path folder_;
};

// zstd frames (RFC 8878, 3.1.1) with nothing but zeros, written out here since no encoder makes them.
namespace zstd {
const std::string kMagic = little_endian(0xfd2fb528u);
// Window_Descriptor: 8 MiB, and 2 TiB
const std::string kWindow = std::string(1, '\0') + '\x68', kHugeWindow = std::string(1, '\0') + '\xf8';
// A single segment of a declared size.
std::string declared(std::uint64_t bytes) { return "\xe0" + little_endian(bytes); }

std::string zeros(std::size_t blocks, std::uint32_t block_bytes = 128 << 10) {
  std::string body;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::uint32_t head = (i + 1 == blocks) | 1 << 1 | block_bytes << 3;  // last, RLE, size
    body += little_endian(head).substr(0, 3) + '\0';
  }
  return body;
}
std::string frame(const std::string& head, const std::string& body) { return kMagic + head + body; }
const std::string kSkippable = little_endian(0x184d2a50u) + little_endian(4u) + "skip";
}  // namespace zstd

// As fuzz_chunk takes it.
std::string chunk(int codec, std::int32_t raw_bytes, const std::string& stored) {
  return std::string(1, static_cast<char>(codec)) + little_endian(raw_bytes) + stored;
}

std::string repetitive(std::size_t size, std::size_t step) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(i * i / 7 % 16 + i / step % 3);
  return text;
}

void chunks(const Corpus& corpus) {
  constexpr int kRaw = 0, kZstd = 1, kZstdWithBase = kZstd | 0x80, kWhole = kChunkBytes;
  const auto put = [&](const char* name, int codec, std::int32_t raw_bytes, const std::string& stored) {
    corpus.add("fuzz_chunk", name, chunk(codec, raw_bytes, stored));
  };
  const std::string raw = repetitive(1500, 100);
  ChunkEncoder encoder;
  const std::string good = text_of(encoder.encode(bytes_of(raw)).stored);
  std::vector<std::byte> base(5000);  // that of fuzz_chunk
  for (std::size_t i = 0; i < base.size(); ++i) base[i] = static_cast<std::byte>(i * i / 7);
  auto changed = base;
  changed[700] ^= std::byte{9};
  const std::string delta = text_of(encoder.encode_against(base, changed, base.size()));

  put("raw", kRaw, 1500, raw);
  put("raw_shorter", kRaw, 1501, raw);
  put("empty", kZstd, 1, "");
  put("none", kZstd, 0, good);
  put("negative", kZstd, -1, good);
  put("over_the_limit", kZstd, kWhole + 1, good);
  put("unknown_codec", 2, 1500, good);
  put("zstd", kZstd, 1500, good);
  put("zstd_more_than_said", kZstd, 1499, good);
  put("zstd_less_than_said", kZstd, 1501, good);
  put("zstd_cut", kZstd, 1500, good.substr(0, good.size() / 2));
  put("zstd_wrong_checksum", kZstd, 1500, with(good, good.size() - 4, 0u));
  put("zstd_twice", kZstd, 3000, good + good);
  put("zstd_after_a_skippable_frame", kZstd, 1500, zstd::kSkippable + good);
  put("zstd_then_junk", kZstd, 1500, good + "junk");
  put("delta", kZstdWithBase, 5000, delta);
  put("delta_without_base", kZstd, 5000, delta);
  put("plain_with_base", kZstdWithBase, 1500, good);
  put("whole_chunk_of_zeros", kZstd, kWhole, zstd::frame(zstd::kWindow, zstd::zeros(32)));
  put("bomb_64_mib", kZstd, kWhole, zstd::frame(zstd::kWindow, zstd::zeros(512)));
  put("bomb_with_base", kZstdWithBase, kWhole, zstd::frame(zstd::kWindow, zstd::zeros(64)));
  put("bomb_declared_1_tib", kZstd, kWhole, zstd::frame(zstd::declared(1ull << 40), zstd::zeros(33)));
  put("bomb_declared_less", kZstd, 1500, zstd::frame(zstd::declared(1500), zstd::zeros(32)));
  put("window_2_tib", kZstd, 1500, zstd::frame(zstd::kHugeWindow, zstd::zeros(1, 1500)));
  put("block_over_its_limit", kZstd, kWhole, zstd::frame(zstd::kWindow, zstd::zeros(2, (1 << 21) - 1)));
}

// As fuzz_bundle takes it: 0, the bundle without its digest.
void bundles(const Corpus& corpus) {
  const auto bundle_of = [](std::uint64_t bytes, const std::vector<BundleChunk>& chunks, const char* name) {
    BundleContents contents;
    BundleVersion version;
    const Digest digest = sha256("blob");
    version.manifest.config = {{"hidden_size", 64}};
    version.manifest.blobs = {{"layers.0", "layer", digest, bytes}};
    version.text = version.manifest.canonical();
    version.names = {*ModelRef::parse("demo")};
    contents.versions = {std::move(version)};
    contents.blobs = {{digest, bytes, {}}};
    std::string file(1, '\0');
    BundleWriter writer([&](std::span<const std::byte> part) -> Result<void> {
      file += text_of(part);
      return {};
    });
    static_cast<void>(writer.begin(contents));
    for (const BundleChunk& chunk : chunks) static_cast<void>(writer.chunk(chunk));
    return file.replace(file.find("demo:latest"), 11, name);
  };
  const auto put = [&](const char* name, const std::string& bytes) {
    corpus.add("fuzz_bundle", name, bytes);
  };
  const auto raw = bytes_of(repetitive(300, 30));
  const BundleChunk good{BundleCodec::raw, 300, raw};
  const std::string file = bundle_of(300, {good}, "demo:latest");
  constexpr std::size_t kFormatAt = 9,
                        kContentsBytesAt = 13;  // behind the first byte, which is not in the bundle

  put("unchanged", "\1");  // what the target itself makes: deltas, signatures, two versions
  put("raw", file);
  put("cut", file.substr(0, file.size() - 100));
  put("goes_on", file + "more");
  put("newer", with(file, kFormatAt, 2u));
  put("contents_16_mib", with(file, kContentsBytesAt, 16u << 20));
  put("contents_4_gib", with(file, kContentsBytesAt, ~0u));
  put("name_up", bundle_of(300, {good}, "../../x:one"));
  put("name_absolute", bundle_of(300, {good}, "/etc/pass:x"));
  put("codec_unknown", bundle_of(300, {{BundleCodec{7}, 300, raw}}, "demo:latest"));
  put("delta_without_base", bundle_of(300, {{BundleCodec::zstd_with_base, 300, raw}}, "demo:latest"));
  put("chunk_cut_elsewhere",
      bundle_of(300, {{BundleCodec::raw, 200, std::span(raw).first(200)}}, "demo:latest"));
  const auto bomb = bytes_of(zstd::frame(zstd::kWindow, zstd::zeros(64)));
  const auto tebibyte = bytes_of(zstd::frame(zstd::declared(1ull << 40), zstd::zeros(32)));
  put("bomb_8_mib", bundle_of(kChunkBytes, {{BundleCodec::zstd, kChunkBytes, bomb}}, "demo:latest"));
  put("bomb_declared_1_tib",
      bundle_of(kChunkBytes, {{BundleCodec::zstd, kChunkBytes, tebibyte}}, "demo:latest"));
  put("blob_1_tib", bundle_of(1ull << 40, {{BundleCodec::zstd, kChunkBytes, bomb}}, "demo:latest"));
}

void carriers(const Corpus& corpus) {
  const auto put = [&](const char* name, const std::string& bytes) {
    corpus.add("fuzz_carrier", name, bytes);
  };
  const CarrierBytes good = encode_carrier({LinearRole::down, 64, sha256("version"), sha256("blob")});
  const std::string thin = text_of(good);
  put("thin", thin);
  put("tensor_of_blob", text_of(encode_carrier({role_of_tensor(17), 0, sha256("version"), sha256("blob")})));
  put("cut", thin.substr(0, 79));
  put("damaged", with(thin, 20, std::uint8_t{1}));
  put("newer", with(thin, 3, '2'));
  std::vector<std::byte> blocks(kCarrierBytes * 8 * kQ8BlockBytes, std::byte{1});
  write_signs(good, blocks);
  put("fat", text_of(blocks));
  std::string mark = "GGUF" + std::string("\3\0\0\0", 4) + std::string(16, '\0') +
                     std::string("\17\0\0\0\0\0\0\0", 8) + std::string(kFatKey) +
                     std::string("\10\0\0\0\100\0\0\0\0\0\0\0", 12) + sha256("version").hex();
  put("mark", mark);
}

void layer_blobs(const Corpus& corpus) {
  const auto put = [&](const char* name, const std::string& bytes) {
    corpus.add("fuzz_layer_blob", name, bytes);
  };
  const auto section = bytes_of(repetitive(128, 10));
  LayerBlobBuilder builder;
  builder.add({.name = "norm", .kind = TensorKind::f32, .n = 1, .k = 32}, section);
  builder.add({.name = "q", .kind = TensorKind::w4_n16k8, .bias = true, .n = 16, .k = 8, .group = 32},
              section);
  const std::string good = text_of(builder.finish());
  builder.add({.name = "q", .kind = TensorKind::w6_n16k8, .n = 16, .k = 8, .group = 64}, section);
  put("six_bits", text_of(builder.finish()));
  builder.add({.name = "s", .kind = TensorKind::scales, .n = 4, .k = 8}, section);
  put("scales", text_of(builder.finish()));

  constexpr std::size_t kVersion = 8, kCount = 12, kTotal = 16, kFirst = 64, kSecond = kFirst + 96;
  constexpr std::size_t kN = 56, kK = 64, kOffset = 80, kBytes = 88;  // in a row of the table
  put("good", good);
  put("cut", good.substr(0, good.size() - 64));
  put("newer", with(good, kVersion, 4u));
  put("no_tensor", with(good, kCount, 0u));
  put("tensors_1024", with(good, kCount, 1024u));
  put("tensors_4_billion", with(good, kCount, ~0u));
  put("total_16_eib", with(good, kTotal, ~std::uint64_t{63}));
  put("name_without_end", std::string(good).replace(kFirst, 48, std::string(48, 'n')));
  put("same_name", std::string(good).replace(kSecond, 5, std::string("norm\0", 5)));
  put("offset_at_the_top", with(good, kSecond + kOffset, ~std::uint64_t{63}));
  put("bytes_beyond", with(good, kSecond + kBytes, ~std::uint64_t{0}));
  put("overlap", with(good, kSecond + kOffset, std::uint64_t{256}));
  put("shape_overflows",
      with(with(good, kFirst + kN, std::uint64_t{1} << 63), kFirst + kK, std::uint64_t{64}));
}

// As fuzz_gguf takes it: 0, the file.
void ggufs(const Corpus& corpus) {
  const auto put = [&](const char* name, const std::string& bytes) {
    corpus.add("fuzz_gguf", name, std::string(1, '\0') + bytes);
  };
  corpus.add("fuzz_gguf", "unchanged", "\1");  // what the target itself makes: a whole model
  const auto with_entry = [](const std::string& value) {
    GgufWriter gguf;
    gguf.metadata = {{"general.architecture", gguf_value("llama")}, {"x", value}};
    gguf.tensors = {{"t", {4}, 0, std::string(16, '\77')}};
    return gguf.bytes();
  };
  const std::string good = with_entry(gguf_value(7u));
  std::string nested;
  for (int i = 0; i < 100; ++i) nested += little_endian(9u) + little_endian<std::uint64_t>(1);
  constexpr std::size_t kVersion = 4, kTensors = 8, kEntries = 16, kFirstKey = 24;
  constexpr auto kHuge = std::uint64_t{1} << 60;
  put("good", good);
  put("cut", good.substr(0, good.size() - 24));
  put("version_9", with(good, kVersion, 9u));
  put("tensors_huge", with(good, kTensors, kHuge));
  put("entries_huge", with(good, kEntries, kHuge));
  put("key_huge", with(good, kFirstKey, kHuge));
  put("strings_huge", with_entry(gguf_array(8, kHuge, gguf_string("a"))));
  put("floats_huge", with_entry(gguf_array(6, kHuge, "")));
  put("arrays_nested", with_entry(little_endian(9u) + nested));
  const auto with_tensor = [](const std::vector<std::uint64_t>& shape, std::uint32_t type) {
    GgufWriter gguf;
    gguf.set("general.architecture", "llama");
    gguf.tensors = {{"t", shape, type, std::string(64, '\1')}};
    return gguf.bytes();
  };
  put("shape_overflows", with_tensor({1ull << 32, 1ull << 32}, 0));
  put("shape_of_zero", with_tensor({0, 1ull << 63}, 0));
  put("blocks_huge", with_tensor({1ull << 40, 32}, 8));
  put("type_unknown", with_tensor({16}, 99));
  GgufWriter aligned;
  aligned.set("general.alignment", 0u);
  put("alignment_0", aligned.bytes());
}

void safetensors(const Corpus& corpus) {
  const auto put = [&](const char* name, const std::string& header, std::size_t data_bytes) {
    corpus.add("fuzz_safetensors", name,
               little_endian<std::uint64_t>(header.size()) + header + std::string(data_bytes, '\1'));
  };
  const auto tensor = [](const char* dtype, const char* shape, const char* range) {
    return std::string("{\"dtype\":\"") + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + range +
           "}";
  };
  const std::string a = "{\"a\":" + tensor("F32", "[2,3]", "[0,24]");
  put("good", a + ",\"b\":" + tensor("BF16", "[4]", "[24,32]") + ",\"__metadata__\":{\"format\":\"pt\"}}  ",
      32);
  put("integers", "{\"i\":" + tensor("I32", "[2]", "[0,8]") + "}", 8);
  put("half", "{\"h\":" + tensor("F16", "[4]", "[0,8]") + "}", 8);
  put("scalar", "{\"s\":" + tensor("F32", "[]", "[0,4]") + "}", 4);
  put("dtype_unknown", "{\"x\":" + tensor("F4", "[2]", "[0,1]") + "}", 1);
  put("overlap", a + ",\"b\":" + tensor("F32", "[2]", "[16,24]") + "}", 24);
  put("hole", a + ",\"b\":" + tensor("F32", "[2]", "[32,40]") + "}", 40);
  put("more_behind", a + "}", 25);
  put("range_backwards", "{\"x\":" + tensor("F32", "[2]", "[8,0]") + "}", 8);
  put("range_huge", "{\"x\":" + tensor("F32", "[2]", "[0,18446744073709551615]") + "}", 8);
  put("shape_overflows", "{\"x\":" + tensor("F32", "[4294967296,4294967296]", "[0,0]") + "}", 0);
  put("shape_negative", "{\"x\":" + tensor("F32", "[-1]", "[0,4]") + "}", 4);
  put("offsets_of_floats", "{\"x\":" + tensor("F32", "[1]", "[0.0,4e0]") + "}", 4);
  put("nested", "{\"x\":" + std::string(200, '[') + std::string(200, ']') + "}", 0);
  corpus.add("fuzz_safetensors", "header_huge", little_endian(~std::uint64_t{0}) + a + "}");
  corpus.add("fuzz_safetensors", "header_100_mb", little_endian<std::uint64_t>(100'000'000) + a + "}");
}

// agent/prefix_cache.cpp has the format; without the digest, which the target adds. Blocks of 512 bytes, as
// its model has.
void prefix_caches(const Corpus& corpus) {
  const auto file = [](std::initializer_list<std::int64_t> parents) {
    std::string bytes = "DGQKVPFX" + little_endian<std::uint32_t>(1) + little_endian<std::uint32_t>(1) +
                        std::string(32, '\0') + little_endian<std::uint64_t>(32) +
                        little_endian<std::uint64_t>(512) + little_endian<std::uint64_t>(parents.size());
    for (const std::int64_t parent : parents)
      bytes += little_endian(parent) + std::string(32 * sizeof(std::int32_t), '\0') + std::string(512, '\1');
    return bytes;
  };
  corpus.add("fuzz_prefix_cache", "empty", file({}));
  corpus.add("fuzz_prefix_cache", "chain", file({-1, 0, 1}));
  corpus.add("fuzz_prefix_cache", "twice", file({-1, -1}));
  corpus.add("fuzz_prefix_cache", "itself", file({-1, 1}));
  corpus.add("fuzz_prefix_cache", "count_huge", with(file({-1}), 64, ~std::uint64_t{0}));
}

}  // namespace
}  // namespace dgq::test

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "make_corpus FOLDER\n");
    return 2;
  }
  const dgq::test::Corpus corpus(arguments[1]);
  for (const auto make : {dgq::test::chunks, dgq::test::bundles, dgq::test::carriers, dgq::test::layer_blobs,
                          dgq::test::ggufs, dgq::test::safetensors, dgq::test::prefix_caches})
    make(corpus);
}
