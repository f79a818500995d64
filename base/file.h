// base/file.h - files: whole reads with a limit, read-only maps, and writes that are all there or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace dgq {

// "cannot open FILE: No such file or directory"; `action` is the verb. not_found for ENOENT, else io.
Error errno_error(std::string_view action, const std::filesystem::path& path, int error_number);

// A file descriptor, closed in the destructor. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }  // the caller's from now on
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A regular file mapped read-only and shared: no private copy, other processes use the same pages.
// An empty file maps to an empty span. Move-only; the span is valid as long as the object.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  static Result<MappedFile> open(const std::filesystem::path& path);
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// The process gives back the memory of pages that lie wholly in these bytes of a MappedFile; they stay readable.
void forget_pages(std::span<const std::byte> mapped) noexcept;

// Bytes that go somewhere, or come from somewhere: how many, 0 at the end.
using ByteSink = std::function<Result<void>(std::span<const std::byte>)>;
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte>)>;

// What read(2) gives, 0 at the end. `path` is for the error only.
Result<std::size_t> read_some(int fd, std::span<std::byte> bytes, const std::filesystem::path& path);

// The whole file as text. invalid when it is longer than max_bytes.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);

// Writes everything to fd, whatever write(2) returns in between. `path` is for the error only.
Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path);

// Makes names that were created, renamed or removed in `folder` durable.
Result<void> sync_folder(const std::filesystem::path& folder);

// Makes a folder and those above it that are missing, durably. One that is there stays as it is.
Result<void> make_folder(const std::filesystem::path& folder);

// A file that is written beside `path` and takes its name in commit(), after fsync: after a crash `path` is the
// old file or the new one, whole. Destroyed without commit(), nothing is left.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})) {}
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();
  Result<void> append(std::span<const std::byte> bytes);
  // Zeros that take no space where the file system knows holes.
  Result<void> append_hole(std::uint64_t bytes);
  Result<void> commit(unsigned mode = 0644);  // mode: permissions

 private:
  AtomicFile() = default;
  Fd fd_;
  std::filesystem::path path_;
  std::string temporary_;
};

// The same for bytes that are all there.
Result<void> write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace dgq
