// registry/oci_layout.cpp - versions into and out of a folder that is an OCI image layout.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "registry/exchange.h"
#include "registry/oci.h"

namespace dgq {

namespace fs = std::filesystem;
using sqlite::Transaction;

namespace {

std::string blob_path(const Digest& digest) { return "blobs/sha256/" + digest.hex(); }

// --- out

Result<void> make_empty_folder(const fs::path& folder) {
  DGQ_CHECK(make_folder(folder));
  std::error_code failed;
  const bool empty = fs::is_empty(folder, failed);
  if (failed) return Error{Errc::io, "cannot list the folder " + folder.string() + ": " + failed.message()};
  if (empty) return {};
  const bool cut_short = fs::exists(folder / "blobs/sha256") && !fs::exists(folder / "oci-layout");
  return Error{Errc::invalid, folder.string() + " is not empty: an OCI layout needs a folder of its own" +
                                  (cut_short ? " (an export that was killed has left it: remove it)" : "")};
}

// A layout in a folder that was empty. Destroyed without keep(), the folder is empty again, so that the export can be repeated.
class UnfinishedLayout {
 public:
  explicit UnfinishedLayout(fs::path folder) : folder_(std::move(folder)) {}
  UnfinishedLayout(const UnfinishedLayout&) = delete;
  ~UnfinishedLayout() {
    if (folder_.empty()) return;
    std::error_code ignored;
    fs::remove(folder_ / "oci-layout", ignored);  // first and durably: what has it is whole
    if (!sync_folder(folder_)) return;
    fs::remove(folder_ / "index.json", ignored);
    fs::remove_all(folder_ / "blobs", ignored);
  }
  void keep() { folder_.clear(); }

 private:
  fs::path folder_;
};

Result<OciDescriptor> write_document(const fs::path& folder, std::string_view text, std::string name) {
  const OciDescriptor descriptor{sha256(text), text.size(), std::move(name)};
  DGQ_CHECK(write_file_atomic(folder / blob_path(descriptor.digest), std::as_bytes(std::span(text))));
  return descriptor;
}

// The version's manifest and its image manifest; the blobs are there.
Result<OciDescriptor> write_version(const fs::path& folder, const BundleVersion& version) {
  OciManifest image;
  DGQ_TRY(image.config, write_document(folder, version.text, {}));
  for (const BlobRef& blob : version.manifest.blobs)
    image.layers.push_back({blob.digest, blob.bytes, blob.name});
  image.names = version.names;
  image.signatures = version.signatures;
  return write_document(folder, image.text(), version.names.front().text());
}

// --- in

// A file of the layout, opened part by part so that no link is followed.
Result<Fd> open_in(const fs::path& folder, const std::string& path) {
  Fd at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return errno_error("open the folder", folder, errno);
  for (const fs::path& part : fs::path(path)) {
    at = Fd(::openat(at.get(), part.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!at && errno == ELOOP)
      return Error{Errc::invalid, (folder / path).string() + " is a link: not followed"};
    if (!at) return errno_error("open", folder / path, errno);
  }
  struct stat info;
  if (::fstat(at.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return Error{Errc::invalid, (folder / path).string() + " is not a regular file"};
  return at;
}

Result<std::string> read_document(const fs::path& folder, const std::string& path) {
  DGQ_TRY(const Fd file, open_in(folder, path));
  std::string text(kMaxOciDocument + 1, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    DGQ_TRY(const std::size_t got,
            read_some(file.get(), std::as_writable_bytes(std::span(text).subspan(done)), folder / path));
    if (got == 0) break;
    done += got;
  }
  if (done > kMaxOciDocument)
    return Error{Errc::invalid,
                 (folder / path).string() + " is longer than " + std::to_string(kMaxOciDocument) + " bytes"};
  text.resize(done);
  return text;
}

// A document that a descriptor names.
Result<std::string> read_described(const fs::path& folder, const OciDescriptor& descriptor) {
  const std::string path = blob_path(descriptor.digest);
  DGQ_TRY(std::string text, read_document(folder, path));
  if (text.size() != descriptor.bytes || sha256(text) != descriptor.digest)
    return Error{Errc::corrupt, (folder / path).string() + " does not match its digest and size"};
  return text;
}

Result<BundleVersion> read_image(const fs::path& folder, const OciDescriptor& descriptor) {
  const std::string where = (folder / blob_path(descriptor.digest)).string();
  DGQ_TRY(const std::string text, read_described(folder, descriptor));
  DGQ_TRY(OciManifest image, OciManifest::parse(text, where));
  BundleVersion version;
  DGQ_TRY(version.text, read_described(folder, image.config));
  version.digest = image.config.digest;
  DGQ_TRY(version.manifest, Manifest::parse(version.text, (folder / blob_path(version.digest)).string()));
  const std::vector<BlobRef>& blobs = version.manifest.blobs;
  const bool same = std::equal(blobs.begin(), blobs.end(), image.layers.begin(), image.layers.end(),
                               [](const BlobRef& blob, const OciDescriptor& layer) {
                                 return blob.digest == layer.digest && blob.bytes == layer.bytes;
                               });
  if (!same) return Error{Errc::corrupt, where + ": its layers are not the blobs of its config"};
  version.names = std::move(image.names);
  version.signatures = std::move(image.signatures);
  return version;
}

// With a name for every version: `name`, where it is given.
Result<void> name_versions(BundleContents& contents, const std::optional<ModelRef>& name,
                           const fs::path& folder) {
  if (name && contents.versions.size() > 1)
    return Error{Errc::invalid, folder.string() + " holds " + std::to_string(contents.versions.size()) +
                                    " versions: one name cannot serve them all"};
  for (BundleVersion& version : contents.versions) {
    if (name) version.names = {*name};
    if (version.names.empty())
      return Error{Errc::invalid, folder.string() + ": version " + version.digest.short_hex() +
                                      " has no name in the layout; give it one: --name MODEL[:TAG]"};
  }
  return {};
}

}  // namespace

Result<BundleContents> read_oci_layout(const fs::path& folder) {
  DGQ_TRY(const std::string layout, read_document(folder, "oci-layout"));
  DGQ_CHECK(check_oci_layout(layout, (folder / "oci-layout").string()));
  DGQ_TRY(const std::string index, read_document(folder, "index.json"));
  DGQ_TRY(const std::vector<OciDescriptor> images, parse_oci_index(index, (folder / "index.json").string()));
  BundleContents contents;
  for (const OciDescriptor& image : images) {
    DGQ_TRY(BundleVersion version, read_image(folder, image));
    contents.versions.push_back(std::move(version));
  }
  contents.blobs = blobs_of(contents.versions);
  return contents;
}

Result<ChunkSource> open_oci_blob(const fs::path& folder, const BundleBlob& blob) {
  const std::string name = blob_path(blob.digest), path = (folder / name).string();
  DGQ_TRY(Fd opened, open_in(folder, name));
  struct stat info;
  if (::fstat(opened.get(), &info) != 0 || static_cast<std::uint64_t>(info.st_size) != blob.bytes)
    return Error{Errc::corrupt,
                 path + " does not have the " + std::to_string(blob.bytes) + " bytes of its descriptor"};
  // Shared, since a std::function is copied.
  return ChunkSource([file = std::make_shared<Fd>(std::move(opened)), path,
                      buffer = std::vector<std::byte>()](std::uint64_t left) mutable -> Result<BundleChunk> {
    buffer.resize(std::min<std::uint64_t>(left, kChunkBytes));
    for (std::size_t done = 0; done < buffer.size();) {
      DGQ_TRY(const std::size_t got, read_some(file->get(), std::span(buffer).subspan(done), path));
      if (got == 0) return Error{Errc::corrupt, path + " became shorter"};
      done += got;
    }
    return BundleChunk{BundleCodec::raw, static_cast<std::uint32_t>(buffer.size()), buffer};
  });
}

Result<BundleSummary> Registry::export_oci(const std::vector<std::string>& references, const fs::path& folder,
                                           const BlobProgress& progress) {
  sqlite::Db& db = *state_->db;
  BundleContents contents;
  DGQ_TRY(contents.versions, versions_to_export(*this, db, references));
  contents.blobs = blobs_of(contents.versions);
  const BundleSummary summary = summary_of(contents);
  DGQ_CHECK(make_empty_folder(folder));
  UnfinishedLayout unfinished(folder);
  DGQ_CHECK(make_folder(folder / "blobs/sha256"));
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  std::uint64_t done = 0;
  for (const BundleBlob& blob : contents.blobs) {
    DGQ_TRY(AtomicFile file, AtomicFile::create(folder / blob_path(blob.digest)));
    DGQ_CHECK(state_->read_blob(blob.digest, [&](const StoredChunk&, auto raw) -> Result<void> {
      done += raw.size();
      if (progress) progress(done, summary.bytes);
      return file.append(raw);
    }));
    DGQ_CHECK(file.commit());
  }
  std::vector<OciDescriptor> images;
  for (const BundleVersion& version : contents.versions) {
    DGQ_TRY(OciDescriptor image, write_version(folder, version));
    images.push_back(std::move(image));
  }
  // Without these two the folder is no layout, so they come last.
  const std::string index = oci_index_text(images);
  DGQ_CHECK(write_file_atomic(folder / "index.json", std::as_bytes(std::span(index))));
  DGQ_CHECK(write_file_atomic(folder / "oci-layout", std::as_bytes(std::span(kOciLayoutText))));
  unfinished.keep();
  return summary;
}

Result<BundleSummary> Registry::import_oci(const fs::path& folder, const std::optional<ModelRef>& name,
                                           const BlobProgress& progress) {
  DGQ_TRY(BundleContents contents, read_oci_layout(folder));
  DGQ_CHECK(name_versions(contents, name, folder));
  const auto fill = [&](Receiver& receiver) -> Result<void> {
    for (const BundleBlob& blob : contents.blobs) {
      DGQ_TRY(const ChunkSource chunks, open_oci_blob(folder, blob));
      DGQ_CHECK(receiver.receive(blob, chunks));
    }
    return {};
  };
  return import_contents(*state_, contents, folder.string(), progress, fill);
}

}  // namespace dgq
