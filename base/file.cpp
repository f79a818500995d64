#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dgq {

Error errno_error(std::string_view action, const std::filesystem::path& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return {
      error_number == ENOENT ? Errc::not_found : Errc::io,
      "cannot " + std::string(action) + " " + path.string() + ": " +
          (full ? "no space left on its disk; free some and run this again" : std::strerror(error_number))};
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

namespace {

struct OpenFile {
  Fd fd;
  std::size_t size = 0;
};

Result<OpenFile> open_regular(const std::filesystem::path& path) {
  OpenFile file{Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))};
  if (!file.fd) return errno_error("open", path, errno);
  struct stat info;
  if (::fstat(file.fd.get(), &info) != 0) return errno_error("stat", path, errno);
  if (!S_ISREG(info.st_mode)) return Error{Errc::invalid, path.string() + " is not a regular file"};
  file.size = static_cast<std::size_t>(info.st_size);
  return file;
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  DGQ_TRY(OpenFile file, open_regular(path));
  MappedFile map;
  if (file.size == 0) return map;
  void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_SHARED, file.fd.get(), 0);
  if (address == MAP_FAILED) return errno_error("map", path, errno);
  // Pages of 2 MiB where kernel and file system have them: reading weights once is a quarter faster (docs/KERNELS.md).
  ::madvise(address, file.size, MADV_HUGEPAGE);
  map.data_ = static_cast<const std::byte*>(address);
  map.size_ = file.size;
  return map;
}

void forget_pages(std::span<const std::byte> mapped) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(mapped.data()) + page - 1) / page * page,
             end = reinterpret_cast<std::uintptr_t>(mapped.data() + mapped.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<std::size_t> read_some(int fd, std::span<std::byte> bytes, const std::filesystem::path& path) {
  while (true) {
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return errno_error("read", path, errno);
  }
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  DGQ_TRY(OpenFile file, open_regular(path));
  if (file.size > max_bytes)
    return Error{Errc::invalid, path.string() + " has " + std::to_string(file.size) +
                                    " bytes, more than the limit of " + std::to_string(max_bytes)};
  std::string text(file.size, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    DGQ_TRY(const std::size_t got,
            read_some(file.fd.get(), std::as_writable_bytes(std::span(text).subspan(done)), path));
    if (got == 0) break;  // shrank meanwhile: what is there is what counts
    done += got;
  }
  text.resize(done);
  return text;
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error("write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? "." : folder;
  const Fd fd(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("open folder", name, errno);
  if (::fsync(fd.get()) != 0) return errno_error("sync folder", name, errno);
  return {};
}

Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  if (folder.empty() || std::filesystem::is_directory(folder, failed)) return {};
  DGQ_CHECK(make_folder(folder.parent_path()));
  std::filesystem::create_directory(folder, failed);
  if (failed) return Error{Errc::io, "cannot create the folder " + folder.string() + ": " + failed.message()};
  return sync_folder(folder.parent_path());
}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& path) {
  AtomicFile file;
  file.path_ = path;
  std::string name = path.string() + ".XXXXXX";
  file.fd_ = Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.fd_) return errno_error("create a file beside", path, errno);
  file.temporary_ = std::move(name);
  return file;
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> AtomicFile::append(std::span<const std::byte> bytes) {
  return write_all(fd_.get(), bytes, path_);
}

Result<void> AtomicFile::append_hole(std::uint64_t bytes) {
  const off_t end = ::lseek(fd_.get(), static_cast<off_t>(bytes), SEEK_CUR);
  if (end < 0 || ::ftruncate(fd_.get(), end) != 0) return errno_error("write", path_, errno);
  return {};
}

Result<void> AtomicFile::commit(unsigned mode) {
  if (::fchmod(fd_.get(), mode) != 0) return errno_error("set the mode of", path_, errno);
  if (::fsync(fd_.get()) != 0) return errno_error("sync", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return errno_error("rename a file to", path_, errno);
  temporary_.clear();
  return sync_folder(path_.parent_path());
}

Result<void> write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  DGQ_TRY(AtomicFile file, AtomicFile::create(path));
  DGQ_CHECK(file.append(bytes));
  return file.commit();
}

}  // namespace dgq
