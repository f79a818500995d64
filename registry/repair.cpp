// registry/repair.cpp - where whole bytes are looked for, and in which order: the chunks that are there under a wrong row; the
// manifests of what was given; for each blob its own chunks and those of the blobs that it shares a base with, its layer file,
// and what was given. Again, as long as that helps: a blob may only wait for its base.
#include "registry/repair.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "registry/exchange.h"
#include "registry/layer_cache.h"
#include "registry/repair_rows.h"

namespace dgq {

namespace fs = std::filesystem;
using sqlite::Statement;
using sqlite::Transaction;

namespace {

struct Given {
  fs::path path;
  bool is_layout;
  BundleContents contents;
};

Result<std::pair<Fd, ByteSource>> open_bundle(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open", path, errno);
  const int number = fd.get();
  return std::pair(std::move(fd), ByteSource([number, path](std::span<std::byte> bytes) {
                     return read_some(number, bytes, path);
                   }));
}

Result<Given> open_given(const fs::path& path) {
  std::error_code ignored;
  Given given{path, fs::is_directory(path, ignored), {}};
  if (given.is_layout) {
    DGQ_TRY(given.contents, read_oci_layout(path));
    return given;
  }
  DGQ_TRY(const auto opened, open_bundle(path));
  DGQ_TRY(given.contents, BundleReader(opened.second, path.string()).begin());
  return given;
}

class Repair {
 public:
  Repair(Registry& registry, const fs::path& layers, std::vector<Given> given, RepairReport& report)
      : registry_(registry),
        state_(registry.state()),
        db_(*state_.db),
        cache_(layers),
        given_(std::move(given)),
        report_(report) {
    damaged_.insert(report.registry.damaged.begin(), report.registry.damaged.end());
  }
  Result<void> run();
  // After run(), when `report.registry` is about what is there now.
  Result<void> tell_what_is_lost();

 private:
  Result<void> restore_versions();
  Result<void> adopt();
  Result<void> restore_blobs();
  Result<std::set<Digest>> wanted();

  Result<bool> restore(const Digest& digest, std::uint64_t bytes, const RawChunks& chunks,
                       const std::string& from);
  Result<bool> is_whole(const Digest& digest);
  Result<void> find_relatives();
  Result<bool> from_what_is_here(const Digest& digest);
  Result<bool> from_relatives(const Digest& digest);
  Result<bool> from_layer_file(const Digest& digest);
  Result<void> from_bundle(const Given& given);
  Result<void> from_layout(const Given& given);

  Result<void> drop_unneeded();
  Result<bool> unbase(std::int64_t base);
  Result<void> mend_layer_files();

  Result<std::vector<std::int64_t>> ids(const char* sql, std::int64_t blob);
  std::string name_of(const Digest& digest) const;
  Result<void> note(const std::string& what);

  Registry& registry_;
  Registry::State& state_;
  sqlite::Db& db_;
  LayerCache cache_;
  std::vector<Given> given_;
  RepairReport& report_;
  Needs needs_;
  std::map<Digest, std::vector<std::int64_t>>
      relatives_;             // ids of blobs that have a base in common with one, or are it
  std::set<Digest> damaged_;  // rows that are there; what is missing altogether is in needs_
};

std::string Repair::name_of(const Digest& digest) const {
  const auto needed = needs_.blobs.find(digest);
  return needed == needs_.blobs.end() ? "blob " + digest.short_hex() + ", which no version needs"
                                      : needed->second.name;
}

// Once: sources are read again while that helps.
Result<void> Repair::note(const std::string& what) {
  if (std::find(report_.notes.begin(), report_.notes.end(), what) == report_.notes.end())
    report_.notes.push_back(what);
  return {};
}

Result<std::vector<std::int64_t>> Repair::ids(const char* sql, std::int64_t blob) {
  DGQ_TRY(Statement rows, db_.query(sql, blob));
  std::vector<std::int64_t> found;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return found;
    found.push_back(rows.integer(0));
  }
}

Result<std::set<Digest>> Repair::wanted() {
  std::set<Digest> digests = damaged_;
  for (const auto& [digest, needed] : needs_.blobs) {
    DGQ_TRY(const auto there, state_.find_blob(digest));
    if (!there) digests.insert(digest);
  }
  return digests;
}

Result<bool> Repair::restore(const Digest& digest, std::uint64_t bytes, const RawChunks& chunks,
                             const std::string& from) {
  const auto needed = needs_.blobs.find(digest);
  BlobRepair blob{digest, bytes, {}, name_of(digest) + " from " + from};
  if (needed != needs_.blobs.end()) blob.versions = needed->second.ids;
  DGQ_TRY(const bool restored, restore_blob(state_, blob, chunks));
  if (!restored) return false;
  damaged_.erase(digest);
  report_.restored.push_back({name_of(digest), from});
  return true;
}

Result<bool> Repair::is_whole(const Digest& digest) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(db_, Transaction::Kind::read));
  const auto read = state_.read_blob(digest, [](const auto&, auto) { return Result<void>(); });
  if (!read && read.error().code == Errc::io) return read.error();
  return read.has_value();
}

// Before anything is restored, since that is stored plainly.
Result<void> Repair::find_relatives() {
  DGQ_TRY(const std::set<Digest> digests, wanted());
  for (const Digest& digest : digests) {
    DGQ_TRY(const auto id, state_.find_blob(digest));
    if (!id) continue;
    DGQ_TRY(relatives_[digest], ids(R"sql(
WITH bases(id) AS (SELECT base FROM chunk WHERE blob = ?1 AND base IS NOT NULL UNION SELECT ?1)
SELECT id FROM bases WHERE id <> ?1 UNION SELECT blob FROM chunk WHERE base IN bases AND blob <> ?1)sql",
                                    *id));
  }
  return {};
}

// The blob's own chunks where they decode, and in place of the others those of one relative.
Result<bool> Repair::from_relatives(const Digest& digest) {
  DGQ_TRY(const auto id, state_.find_blob(digest));
  if (!id) return false;
  const auto needed = needs_.blobs.find(digest);
  DGQ_TRY(const std::int64_t said, db_.integer("SELECT bytes FROM blob WHERE id = ?", *id));
  const std::uint64_t bytes =
      needed == needs_.blobs.end() ? static_cast<std::uint64_t>(said) : needed->second.bytes;
  std::vector<std::int64_t> relatives = relatives_[digest];
  relatives.insert(relatives.begin(), *id);  // alone: what is wrong may be a row too many
  for (const std::int64_t relative : relatives) {
    ChunkReader own(db_), other(db_);
    const auto chunks = [&](std::int64_t position, std::size_t size) -> Result<std::span<const std::byte>> {
      if (const auto mine = own.find(*id, position); mine && *mine && (*mine)->raw.size() == size)
        return (*mine)->raw;
      DGQ_TRY(const auto theirs, other.find(relative, position));
      if (theirs && theirs->raw.size() == size) return theirs->raw;
      return Error{Errc::corrupt, "is not there"};
    };
    DGQ_TRY(const bool restored,
            restore(digest, bytes, chunks,
                    relative == *id ? "its own chunks" : "chunks of a blob that it shares a base with"));
    if (restored) return true;
  }
  return false;
}

Result<bool> Repair::from_layer_file(const Digest& digest) {
  const fs::path path = cache_.path_of(digest);
  const auto file = MappedFile::open(path);
  if (!file) return false;
  const std::span<const std::byte> bytes = file->bytes();
  return restore(
      digest, bytes.size(),
      [&](std::int64_t position, std::size_t size) -> Result<std::span<const std::byte>> {
        return bytes.subspan(static_cast<std::size_t>(position) * kChunkBytes, size);
      },
      "the layer file " + path.string());
}

Result<bool> Repair::from_what_is_here(const Digest& digest) {
  DGQ_TRY(const bool whole, is_whole(digest));
  if (whole) {
    damaged_.erase(digest);
    report_.restored.push_back({name_of(digest), "its base, which was restored"});
    return true;
  }
  DGQ_TRY(const bool restored, from_relatives(digest));
  return restored ? true : from_layer_file(digest);
}

// One pass over the bundle. Where it ends early or is damaged, what came before still counts.
Result<void> Repair::from_bundle(const Given& given) {
  DGQ_TRY(const auto opened, open_bundle(given.path));
  BundleReader reader(opened.second, given.path.string());
  const auto contents = reader.begin();
  if (!contents) return note(contents.error().what);
  DGQ_TRY(const std::set<Digest> missing, wanted());
  for (const BundleBlob& blob : contents->blobs) {
    std::uint64_t left = blob.bytes;
    const auto next = [&]() -> Result<BundleChunk> {
      DGQ_TRY(const BundleChunk chunk, reader.next(left));
      left -= chunk.raw_bytes;
      return chunk;
    };
    if (missing.contains(blob.digest)) {
      BundleChunkDecoder decoder(db_);
      std::optional<std::int64_t> base;
      if (blob.base) {
        DGQ_TRY(base, state_.find_blob(*blob.base));
      }
      const auto chunks = [&](std::int64_t position, std::size_t) -> Result<std::span<const std::byte>> {
        DGQ_TRY(const BundleChunk chunk, next());
        DGQ_TRY(const auto decoded, decoder.decode(chunk, position, base));
        return decoded.raw;
      };
      DGQ_CHECK(restore(blob.digest, blob.bytes, chunks, given.path.string()));
    }
    while (left > 0)
      if (const auto skipped = next(); !skipped) return note(skipped.error().what);
  }
  return {};
}

Result<void> Repair::from_layout(const Given& given) {
  DGQ_TRY(const std::set<Digest> missing, wanted());
  for (const BundleBlob& blob : given.contents.blobs) {
    if (!missing.contains(blob.digest)) continue;
    const auto source = open_oci_blob(given.path, blob);
    if (!source) {
      DGQ_CHECK(note(source.error().what));
      continue;
    }
    const auto chunks = [&](std::int64_t position, std::size_t) -> Result<std::span<const std::byte>> {
      DGQ_TRY(const BundleChunk chunk,
              (*source)(blob.bytes - static_cast<std::uint64_t>(position) * kChunkBytes));
      return chunk.data;
    };
    DGQ_CHECK(restore(blob.digest, blob.bytes, chunks, given.path.string()));
  }
  return {};
}

Result<void> Repair::restore_blobs() {
  DGQ_CHECK(find_relatives());
  for (std::size_t before = SIZE_MAX;;) {
    DGQ_TRY(const std::set<Digest> now, wanted());
    if (now.empty() || now.size() == before) return {};
    before = now.size();
    for (const Digest& digest : now) DGQ_CHECK(from_what_is_here(digest));
    for (const Given& given : given_) {
      DGQ_TRY(const std::set<Digest> left, wanted());
      if (!left.empty()) DGQ_CHECK(given.is_layout ? from_layout(given) : from_bundle(given));
    }
  }
}

Result<void> Repair::restore_versions() {
  DGQ_TRY(needs_, read_needs(db_));
  if (needs_.broken.empty()) return {};
  std::map<Digest, std::pair<std::string, std::string>> texts;  // the manifest, where it is from
  for (const Given& given : given_)
    for (const BundleVersion& version : given.contents.versions)
      texts.emplace(version.digest, std::pair(version.text, given.path.string()));
  for (const BrokenVersion& version : needs_.broken) {
    const Digest of_text = sha256(version.text);  // a row whose digest is what is wrong
    DGQ_TRY(const bool made_here, was_made_here(db_, of_text));
    if (made_here) texts.emplace(of_text, std::pair(version.text, "the audit log, which knows its digest"));
    const auto found = texts.find(made_here ? of_text : version.digest.value_or(Digest{}));
    if (found == texts.end()) continue;
    const auto& [digest, source] = *found;
    DGQ_TRY(const auto another,
            db_.find_integer("SELECT id FROM version WHERE digest = ? AND id <> ?", digest, version.id));
    if (another) continue;
    const std::string what = "the manifest of " + version.names + " (" + digest.short_hex() + ")";
    DGQ_CHECK(restore_version(db_, version.id, digest, source.first, what + " from " + source.second));
    report_.restored.push_back({what, source.second});
  }
  DGQ_TRY(needs_, read_needs(db_));
  return {};
}

Result<void> Repair::adopt() {
  DGQ_TRY(std::vector<std::int64_t> candidates, strays(db_));
  for (const Digest& digest : damaged_) {
    DGQ_TRY(const auto id, state_.find_blob(digest));
    if (id) candidates.push_back(*id);
  }
  if (candidates.empty()) return {};
  DGQ_TRY(const std::vector<Digest> adopted, adopt_chunks(state_, needs_, candidates));
  for (const Digest& digest : adopted)
    report_.restored.push_back({name_of(digest), "its chunks, whose row was wrong"});
  for (auto digest = damaged_.begin(); digest != damaged_.end();) {  // rows that have another digest now
    DGQ_TRY(const auto there, state_.find_blob(*digest));
    digest = there ? std::next(digest) : damaged_.erase(digest);
  }
  return {};
}

// What is stored against the base is stored plainly from now on. false: something is damaged itself.
Result<bool> Repair::unbase(std::int64_t base) {
  DGQ_TRY(const auto blobs, ids("SELECT DISTINCT blob FROM chunk WHERE base = ?", base));
  for (const std::int64_t id : blobs) {
    DGQ_TRY(Statement row, db_.query("SELECT digest, bytes FROM blob WHERE id = ?", id));
    DGQ_TRY(const bool there, row.step());
    if (!there) return false;
    DGQ_TRY(const Digest digest, row.digest(0));
    ChunkReader own(db_);
    const BlobRepair plainly{digest,
                             static_cast<std::uint64_t>(row.integer(1)),
                             {},
                             name_of(digest) + " stored plainly: its base is damaged"};
    row = {};
    const auto chunks = [&](std::int64_t position, std::size_t) -> Result<std::span<const std::byte>> {
      DGQ_TRY(const auto chunk, own.find(id, position));
      if (!chunk) return Error{Errc::corrupt, "is not there"};
      return chunk->raw;
    };
    DGQ_TRY(const bool done, restore_blob(state_, plainly, chunks));
    if (!done) return false;
  }
  return true;
}

// Damaged blobs that were kept as a base only, or for gc.
Result<void> Repair::drop_unneeded() {
  const std::set<Digest> damaged = damaged_;
  for (const Digest& digest : damaged) {
    DGQ_TRY(const auto id, state_.find_blob(digest));
    if (!id || needs_.blobs.contains(digest)) continue;
    DGQ_TRY(const auto kept,
            db_.find_integer("SELECT 1 FROM ingest_blob WHERE blob = ?1 UNION SELECT 1 FROM version_blob "
                             "WHERE blob = ?1",
                             *id));
    if (kept) continue;
    DGQ_TRY(const bool free, unbase(*id));
    if (!free) continue;
    const std::string what = name_of(digest);
    DGQ_CHECK(drop_blob(db_, *id, what + " and was damaged: removed"));
    damaged_.erase(digest);
    report_.notes.push_back(what + " and was damaged: removed");
  }
  return {};
}

Result<void> Repair::mend_layer_files() {
  DGQ_TRY(const VerifyReport files, cache_.verify());
  for (const Digest& digest : files.damaged) {
    if (damaged_.contains(digest)) continue;
    const fs::path path = cache_.path_of(digest);
    DGQ_TRY(const auto bytes, db_.find_integer("SELECT bytes FROM blob WHERE digest = ?", digest));
    if (bytes) {
      DGQ_CHECK(cache_.materialise(registry_, {"", "", digest, static_cast<std::uint64_t>(*bytes)}));
      report_.restored.push_back({"layer file " + path.string(), "the registry"});
    } else if (::unlink(path.c_str()) == 0) {
      report_.notes.push_back("layer file " + path.string() + " was damaged and of no blob here: removed");
    } else {
      return errno_error("remove", path, errno);
    }
  }
  return {};
}

Result<void> Repair::run() {
  DGQ_CHECK(restore_versions());
  DGQ_TRY(const std::uint64_t linked, link_versions(db_, needs_));
  if (linked > 0)
    report_.restored.push_back(
        {"what gc keeps for the versions, " + std::to_string(linked) + " blobs", "their manifests"});
  DGQ_CHECK(adopt());
  DGQ_CHECK(restore_blobs());
  DGQ_CHECK(drop_unneeded());
  DGQ_TRY(const std::set<Digest> lost, wanted());
  DGQ_CHECK(drop_dangling(db_, lost.empty()));
  return mend_layer_files();
}

Result<void> Repair::tell_what_is_lost() {
  damaged_ = {report_.registry.damaged.begin(), report_.registry.damaged.end()};
  DGQ_TRY(needs_, read_needs(db_));
  for (const BrokenVersion& version : needs_.broken)
    report_.lost.push_back(
        {"the manifest of " + version.names + (version.digest ? " (" + version.digest->hex() + ")" : ""),
         {version.names}});
  DGQ_TRY(const std::set<Digest> lost, wanted());
  for (const Digest& digest : lost) {
    const auto needed = needs_.blobs.find(digest);
    report_.lost.push_back({name_of(digest), needed == needs_.blobs.end() ? std::vector<std::string>()
                                                                          : needed->second.versions});
  }
  return {};
}

}  // namespace

Result<RepairReport> repair(Registry& registry, const RepairSources& sources, const BlobProgress& progress) {
  DGQ_CHECK(registry.state().require_writable());
  std::vector<Given> given;
  for (const fs::path& path : sources.given) {
    DGQ_TRY(Given opened, open_given(path));
    given.push_back(std::move(opened));
  }
  RepairReport report;
  DGQ_TRY(report.registry, registry.verify(progress));
  DGQ_TRY(report.files, LayerCache(sources.layers).verify(progress));
  if (report.registry.database_damaged || (report.registry.faults.empty() && report.files.faults.empty()))
    return report;
  Repair work(registry, sources.layers, std::move(given), report);
  DGQ_CHECK(work.run());
  DGQ_TRY(report.registry, registry.verify(progress));
  DGQ_TRY(report.files, LayerCache(sources.layers).verify(progress));
  DGQ_CHECK(work.tell_what_is_lost());
  return report;
}

}  // namespace dgq
