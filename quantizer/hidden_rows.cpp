#include "quantizer/hidden_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace dgq {
namespace {

// Linux' O_TMPFILE is not on every file system.
Result<Fd> nameless_file(const std::filesystem::path& folder) {
  std::string name = (folder / "hidden.XXXXXX").string();
  Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return errno_error("create a file in", folder, errno);
  ::unlink(name.c_str());
  return fd;
}

// All of `bytes` at `offset`; `once` is pread or pwrite.
template <class Once>
Result<void> transfer(std::size_t bytes, const char* action, const std::filesystem::path& folder,
                      const Once& once) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t some = once(done, bytes - done);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return errno_error(action, folder / "hidden rows", some < 0 ? errno : EIO);
    done += static_cast<std::size_t>(some);
  }
  return {};
}

}  // namespace

Result<HiddenRows> HiddenRows::make(std::vector<std::size_t> sizes, const std::filesystem::path& folder) {
  HiddenRows rows;
  std::size_t total = 0, longest = 0;
  for (const std::size_t size : sizes) {
    rows.begin_.push_back(total);
    total += size;
    longest = std::max(longest, size);
  }
  rows.sizes_ = std::move(sizes);
  rows.folder_ = folder;
  if (!folder.empty()) {
    DGQ_TRY(rows.file_, nameless_file(folder));
  }
  rows.rows_.resize(folder.empty() ? total : longest);
  return rows;
}

std::span<float> HiddenRows::fresh(std::size_t i) {
  return {rows_.data() + (spilled() ? 0 : begin_[i]), sizes_[i]};
}

Result<std::span<float>> HiddenRows::load(std::size_t i) {
  const std::span<float> rows = fresh(i);
  if (!spilled()) return rows;
  auto* bytes = reinterpret_cast<char*>(rows.data());
  DGQ_CHECK(transfer(rows.size_bytes(), "read", folder_, [&](std::size_t at, std::size_t size) {
    return ::pread(file_.get(), bytes + at, size, static_cast<off_t>(begin_[i] * sizeof(float) + at));
  }));
  return rows;
}

Result<void> HiddenRows::keep(std::size_t i) {
  if (!spilled()) return {};
  const auto* bytes = reinterpret_cast<const char*>(rows_.data());
  return transfer(sizes_[i] * sizeof(float), "write", folder_, [&](std::size_t at, std::size_t size) {
    return ::pwrite(file_.get(), bytes + at, size, static_cast<off_t>(begin_[i] * sizeof(float) + at));
  });
}

}  // namespace dgq
