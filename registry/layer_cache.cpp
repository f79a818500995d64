#include "registry/layer_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace dgq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStampEnd = ".ok", kTemporary = ".tmp.";

fs::path file_path(const fs::path& folder, const Digest& digest) {
  const std::string hex = digest.hex();
  return folder / hex.substr(0, 2) / hex;
}

fs::path stamp_path(const fs::path& file) { return file.string() + std::string(kStampEnd); }

// What a file looked like when its bytes were last seen to be right. Any write changes ctime, which no
// program can set back, so equal stamps mean equal bytes but for a disk that lies (which verify() looks for).
Result<std::string> stamp_of(const fs::path& file) {
  struct stat info;
  if (::lstat(file.c_str(), &info) != 0) return errno_error("stat", file, errno);
  const auto time = [](const timespec& t) {
    return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec);
  };
  return "dgq-stamp 1 size=" + std::to_string(info.st_size) + " inode=" + std::to_string(info.st_ino) +
         " mtime=" + time(info.st_mtim) + " ctime=" + time(info.st_ctim) + "\n";
}

bool stamp_holds(const fs::path& file) {
  const auto now = stamp_of(file);
  const auto then = read_file(stamp_path(file), 1024);
  return now && then && *now == *then;
}

// Neither atomic nor synced: a torn or lost stamp only means that the file is hashed again. Where it cannot
// be written (a read-only image) that happens every time.
void write_stamp(const fs::path& file, const std::string& stamp) {
  const fs::path path = stamp_path(file);
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd) static_cast<void>(write_all(fd.get(), std::as_bytes(std::span(stamp)), path));
}

// Hashes the file; true when it is what its name says, and then remembers that.
Result<bool> check_file(const fs::path& file, const Digest& digest) {
  DGQ_TRY(const std::string before, stamp_of(file));
  DGQ_TRY(const MappedFile map, MappedFile::open(file));
  const bool right = sha256(map.bytes()) == digest;
  DGQ_TRY(const std::string after, stamp_of(file));
  if (right && before == after) write_stamp(file, after);
  return right;
}

// A temporary file beside its target; locked while its writer lives, so that remove_unused() can tell;
// removed in the destructor unless it was renamed.
class Temporary {
 public:
  static Result<Temporary> create(const fs::path& target) {
    while (true) {
      Temporary file;
      file.name_ = target.string() + std::string(kTemporary) + "XXXXXX";
      file.fd_ = Fd(::mkostemp(file.name_.data(), O_CLOEXEC));
      if (!file.fd_) return errno_error("create a file beside", target, errno);
      struct stat info;
      if (::flock(file.fd_.get(), LOCK_EX) != 0 || ::fstat(file.fd_.get(), &info) != 0)
        return errno_error("lock", file.name_, errno);
      if (info.st_nlink > 0) return file;  // else taken for a dead one before it was locked: again
    }
  }
  Temporary(Temporary&& other) noexcept : fd_(std::move(other.fd_)), name_(std::exchange(other.name_, {})) {}
  Temporary& operator=(Temporary&&) = delete;
  ~Temporary() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  // Bytes start on their way to the disk at once, so that publish() has less to wait for.
  Result<void> append(std::span<const std::byte> bytes) {
    DGQ_CHECK(write_all(fd_.get(), bytes, name_));
    static_cast<void>(::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
    return {};
  }
  // Gives the file its name, durably. false: the name is taken and `replace` does not say to take it over, so
  // that processes which decode the same blob at once end up mapping one file.
  Result<bool> publish(const fs::path& target, bool replace) {
    if (::fchmod(fd_.get(), 0444) != 0) return errno_error("set the mode of", target, errno);
    if (::fsync(fd_.get()) != 0) return errno_error("sync", target, errno);
    int failed = rename_file(target, replace ? 0 : RENAME_NOREPLACE);
    if (failed == EEXIST && !replace) return false;
    if (failed == EINVAL) failed = rename_file(target, 0);  // a file system without RENAME_NOREPLACE
    if (failed) return errno_error("rename a file to", target, failed);
    name_.clear();
    DGQ_CHECK(sync_folder(target.parent_path()));
    return true;
  }

 private:
  Temporary() = default;
  int rename_file(const fs::path& target, unsigned flags) const {
    return ::renameat2(AT_FDCWD, name_.c_str(), AT_FDCWD, target.c_str(), flags) == 0 ? 0 : errno;
  }
  Fd fd_;
  std::string name_;
};

// read_blob() has checked the digest when it returns without an Error.
Result<void> decode(Registry& registry, const BlobRef& blob, const fs::path& file, bool replace) {
  DGQ_CHECK(make_folder(file.parent_path()));
  DGQ_TRY(Temporary temporary, Temporary::create(file));
  DGQ_CHECK(
      registry.read_blob(blob.digest, [&](std::span<const std::byte> raw) { return temporary.append(raw); }));
  DGQ_TRY(const bool published, temporary.publish(file, replace));
  if (!published) {  // another process was faster
    DGQ_TRY(const bool right, check_file(file, blob.digest));
    if (right) return {};
    DGQ_CHECK(temporary.publish(file, true));
  }
  DGQ_TRY(const std::string stamp, stamp_of(file));
  write_stamp(file, stamp);
  return {};
}

struct CacheFile {
  fs::path path;
  Digest digest;
  enum class Kind { layer, stamp, temporary } kind;
};

// Every file in the folder that this class made, by its name; others are left alone.
Result<std::vector<CacheFile>> cache_files(const fs::path& folder) {
  std::vector<CacheFile> files;
  std::error_code failed;
  if (!fs::exists(folder, failed)) return files;
  for (fs::recursive_directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    if (entry.depth() > 1) entry.disable_recursion_pending();
    const std::string name = entry->path().filename().string();
    const auto digest = Digest::parse(std::string_view(name).substr(0, 64));
    if (entry.depth() != 1 || !digest) continue;
    const std::string_view end_of_name = std::string_view(name).substr(64);
    if (end_of_name.empty()) files.push_back({entry->path(), *digest, CacheFile::Kind::layer});
    if (end_of_name == kStampEnd) files.push_back({entry->path(), *digest, CacheFile::Kind::stamp});
    if (end_of_name.starts_with(kTemporary))
      files.push_back({entry->path(), *digest, CacheFile::Kind::temporary});
  }
  if (failed) return Error{Errc::io, "cannot list " + folder.string() + ": " + failed.message()};
  return files;
}

// Removes a temporary file unless its writer lives. The lock is held meanwhile, so that a writer who has just
// made the file and waits for its lock sees that it is gone (Temporary::create).
Result<bool> remove_if_dead(const fs::path& temporary) {
  const Fd fd(::open(temporary.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return errno_error("remove", temporary, errno);
  return true;
}

Result<bool> remove_if_unused(const CacheFile& file, const std::set<Digest>& used) {
  if (file.kind == CacheFile::Kind::temporary) return remove_if_dead(file.path);
  if (used.contains(file.digest)) return false;
  if (::unlink(file.path.c_str()) != 0 && errno != ENOENT) return errno_error("remove", file.path, errno);
  return file.kind == CacheFile::Kind::layer;
}

}  // namespace

LayerCache::LayerCache(fs::path folder) : folder_(std::move(folder)) {}

fs::path LayerCache::path_of(const Digest& blob) const { return file_path(folder_, blob); }

Result<LayerCache::Entry> LayerCache::materialise(Registry& registry, const BlobRef& blob) {
  const fs::path file = file_path(folder_, blob.digest);
  Entry entry;
  std::error_code ignored;
  if (const auto status = fs::symlink_status(file, ignored); fs::exists(status)) {
    bool right = fs::is_regular_file(status) && fs::file_size(file, ignored) == blob.bytes;
    if (right && !stamp_holds(file)) {
      DGQ_TRY(right, check_file(file, blob.digest));
    }
    entry.reused = right;
    entry.replaced = !right;
  }
  if (!entry.reused) DGQ_CHECK(decode(registry, blob, file, entry.replaced));
  DGQ_TRY(entry.file, MappedFile::open(file));
  if (entry.file.bytes().size() != blob.bytes)
    return Error{Errc::corrupt, file.string() + " changed while it was being opened"};
  return entry;
}

Result<VerifyReport> LayerCache::verify(const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  DGQ_TRY(const std::vector<CacheFile> files, cache_files(folder_));
  VerifyReport report;
  std::uint64_t total = 0;
  std::error_code ignored;
  for (const CacheFile& file : files)
    total += file.kind == CacheFile::Kind::layer ? fs::file_size(file.path, ignored) : 0;
  for (const CacheFile& file : files) {
    if (file.kind != CacheFile::Kind::layer) continue;
    const auto right = check_file(file.path, file.digest);
    if (!right && right.error().code == Errc::not_found) continue;  // gc was faster
    if (!right)
      report.faults.push_back("layer file: " + right.error().what);
    else if (!*right) {
      ::unlink(stamp_path(file.path).c_str());
      report.damaged.push_back(file.digest);
      report.faults.push_back("layer file " + file.path.string() +
                              ": its bytes do not match its name (it is made again when it is next used)");
    }
    ++report.blobs_checked;
    report.bytes_checked += fs::file_size(file.path, ignored);
    if (progress) progress(report.bytes_checked, total);
  }
  return report;
}

Result<LayerCache::Files> LayerCache::not_of(const std::set<Digest>& blobs) const {
  DGQ_TRY(const std::vector<CacheFile> files, cache_files(folder_));
  Files found;
  std::error_code failed;
  for (const CacheFile& file : files) {
    if (file.kind != CacheFile::Kind::layer || blobs.contains(file.digest)) continue;
    const std::uintmax_t bytes = fs::file_size(file.path, failed);
    if (!failed) ++found.count, found.bytes += bytes;  // else gc was faster
  }
  return found;
}

Result<std::uint64_t> LayerCache::remove_unused(Registry& registry) {
  // The folder first: a blob that is added and materialised between the two looks would else seem unused.
  DGQ_TRY(const std::vector<CacheFile> files, cache_files(folder_));
  DGQ_TRY(const std::vector<BlobInfo> blobs, registry.blobs());
  std::set<Digest> used;
  for (const BlobInfo& blob : blobs) used.insert(blob.digest);
  std::uint64_t removed = 0;
  for (const CacheFile& file : files) {
    DGQ_TRY(const bool gone, remove_if_unused(file, used));
    removed += gone;
  }
  return removed;
}

}  // namespace dgq
