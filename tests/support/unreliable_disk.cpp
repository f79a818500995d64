#include "tests/support/unreliable_disk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dgq::test {
namespace {

namespace fs = std::filesystem;
using Event = DiskPlan::Event;

constexpr std::size_t kSectorBytes = 512;

struct Change {  // of a file's bytes
  std::uint64_t offset;
  std::string bytes;
  bool truncates;  // to `offset`
};

struct File {
  int fd;  // our own, never closed: closing it would drop the locks that the process has on the file
  std::string safe;  // what a loss of power leaves for sure
  std::vector<Change> changes;
};

struct NameChange {
  enum class Kind { made, renamed, removed } kind;
  std::string folder, name, from;  // from: of a rename
  std::string kept;                // another link to what `name` was before; empty: nothing
};

struct Disk {
  DiskPlan plan;
  std::mt19937 random;
  std::uint64_t calls = 0;
  std::map<ino_t, File> files;
  std::vector<NameChange> names;
  int links = 0;
};

std::recursive_mutex mutex;
Disk* disk = nullptr;

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

// An absolute name below root, else empty. SQLite's shared memory is no file to speak of: it is made anew after a crash.
std::string name_on_disk(const char* path) {
  if (!disk || !path) return {};
  const std::string name = path[0] == '/' ? path : (fs::current_path() / path).string();
  const bool below = name.starts_with(disk->plan.root.string() + "/") && !name.ends_with("-shm");
  return below ? name : std::string();
}

std::string name_of(int fd) {
  char name[4096];
  const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name);
  return size > 0 ? std::string(name, static_cast<std::size_t>(size)) : std::string();
}

bool exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

std::string read_all(int fd) {
  struct stat info;
  ::fstat(fd, &info);
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const long got = ::syscall(SYS_pread64, fd, bytes.data() + done, bytes.size() - done, done);
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

// The regular file below root that fd is open on; null for all others.
File* file_of(int fd) {
  if (!disk) return nullptr;
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
  if (const auto known = disk->files.find(info.st_ino); known != disk->files.end()) return &known->second;
  const std::string name = name_on_disk(name_of(fd).c_str());
  if (name.empty() || info.st_nlink == 0) return nullptr;
  const auto own = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, name.c_str(), O_RDWR | O_CLOEXEC, 0));
  return &disk->files.emplace(info.st_ino, File{own, read_all(own), {}}).first->second;
}

enum class Call { read, write, make, sync, change };

bool needs_room(Call call) { return call == Call::write || call == Call::make; }

// The errno with which this call fails, 0 when it goes on. Does not come back from a kill.
int fate_of(Call call) {
  const Event event = disk->plan.event;
  if (call == Call::read && event != Event::fail) return 0;
  ++disk->calls;
  if (disk->plan.at == 0 || disk->calls < disk->plan.at) return 0;
  if (event == Event::kill) ::kill(::getpid(), SIGKILL);
  if (event == Event::power_loss) lose_power();
  if (event == Event::full && needs_room(call)) return ENOSPC;
  if (event == Event::fail && disk->calls == disk->plan.at)
    return needs_room(call) && disk->random() % 2 ? ENOSPC : EIO;
  return 0;
}

bool fails(Call call) {
  const int error = fate_of(call);
  if (error != 0) errno = error;
  return error != 0;
}

std::size_t shortened(std::size_t size) {
  const bool now = disk->plan.event == Event::shorten && disk->calls >= disk->plan.at;
  return now && size > 1 ? 1 + disk->random() % (size - 1) : size;
}

void redo(const Change& change, std::string& bytes) {
  if (change.truncates) return bytes.resize(change.offset);
  bytes.resize(std::max<std::size_t>(bytes.size(), change.offset + change.bytes.size()));
  std::memcpy(bytes.data() + change.offset, change.bytes.data(), change.bytes.size());
}

void remember_made(const std::string& name) {
  disk->names.push_back({NameChange::Kind::made, parent_of(name), name, {}, {}});
}

// A second link beside root to what has this name, so that it can come back.
std::string keep(const std::string& name) {
  if (!exists(name)) return {};
  const std::string link =
      disk->plan.root.string() + ".kept." + std::to_string(::getpid()) + "." + std::to_string(disk->links++);
  return ::link(name.c_str(), link.c_str()) == 0 ? link : std::string();
}

ssize_t write_to(int fd, const void* data, std::size_t size, off_t offset) {
  const std::lock_guard lock(mutex);
  File* file = file_of(fd);
  if (file && fails(Call::write)) return -1;
  if (file) size = shortened(size);
  const off_t from = offset >= 0 ? offset : file ? ::lseek(fd, 0, SEEK_CUR) : 0;
  const long put =
      offset >= 0 ? ::syscall(SYS_pwrite64, fd, data, size, offset) : ::syscall(SYS_write, fd, data, size);
  if (file && put > 0)
    file->changes.push_back({static_cast<std::uint64_t>(from),
                             {static_cast<const char*>(data), static_cast<std::size_t>(put)},
                             false});
  return put;
}

ssize_t read_from(int fd, void* data, std::size_t size, off_t offset) {
  {
    const std::lock_guard lock(mutex);
    if (disk && disk->plan.event == Event::fail && file_of(fd) && fails(Call::read)) return -1;
  }
  return offset >= 0 ? ::syscall(SYS_pread64, fd, data, size, offset) : ::syscall(SYS_read, fd, data, size);
}

int truncate_to(int fd, off_t size) {
  const std::lock_guard lock(mutex);
  File* file = file_of(fd);
  if (file && fails(Call::change)) return -1;
  const auto done = static_cast<int>(::syscall(SYS_ftruncate, fd, size));
  if (file && done == 0) file->changes.push_back({static_cast<std::uint64_t>(size), {}, true});
  return done;
}

int sync(int fd) {
  const std::lock_guard lock(mutex);
  if (!disk) return 0;
  if (File* file = file_of(fd)) {
    const bool failed = fails(Call::sync);
    if (!failed && disk->plan.syncs)
      for (const Change& change : file->changes) redo(change, file->safe);
    if (failed || disk->plan.syncs) file->changes.clear();
    return failed ? -1 : 0;
  }
  const std::string folder = name_of(fd);
  if (!(folder + "/").starts_with(disk->plan.root.string() + "/")) return 0;
  if (fails(Call::sync)) return -1;
  if (disk->plan.syncs) std::erase_if(disk->names, [&](const NameChange& c) { return c.folder == folder; });
  return 0;
}

int open_at(const char* path, int flags, mode_t mode) {
  const std::lock_guard lock(mutex);
  const std::string name = name_on_disk(path);
  const bool there = !name.empty() && exists(name);
  if (!name.empty() && (flags & O_CREAT) && !there && fails(Call::make)) return -1;
  const int ours = name.empty() ? flags : flags & ~O_TRUNC;  // truncate_to() does that
  const auto fd = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, ours, mode));
  if (fd < 0 || name.empty()) return fd;
  if ((flags & O_CREAT) && !there) remember_made(name);
  if ((flags & O_TRUNC) && truncate_to(fd, 0) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

int rename_to(const char* from, const char* to, unsigned flags) {
  const std::lock_guard lock(mutex);
  const std::string name = name_on_disk(to);
  if (name.empty()) return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
  if (fails(Call::change)) return -1;
  const std::string kept = keep(name);
  const auto done = static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
  if (done == 0)
    disk->names.push_back({NameChange::Kind::renamed, parent_of(name), name, name_on_disk(from), kept});
  return done;
}

int remove_name(const char* path, int flags) {
  const std::lock_guard lock(mutex);
  const std::string name = name_on_disk(path);
  if (!name.empty() && fails(Call::change)) return -1;
  const std::string kept = name.empty() || flags != 0 ? std::string() : keep(name);
  const auto done = static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, flags));
  if (done == 0 && !name.empty())
    disk->names.push_back({NameChange::Kind::removed, parent_of(name), name, {}, kept});
  return done;
}

int make_folder(const char* path, mode_t mode) {
  const std::lock_guard lock(mutex);
  const std::string name = name_on_disk(path);
  const bool makes = !name.empty() && !exists(name);
  if (makes && fails(Call::make)) return -1;
  const auto done = static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, path, mode));
  if (done == 0 && makes) remember_made(name);
  return done;
}

void lose_bytes(Disk& lost, unsigned surviving_percent) {
  for (auto& [inode, file] : lost.files) {
    if (file.changes.empty()) continue;
    for (Change& change : file.changes) {
      if (lost.random() % 100 >= surviving_percent) continue;
      if (lost.random() % 4 == 0) {  // torn
        const std::size_t sectors = change.bytes.size() / kSectorBytes;
        change.bytes.resize(sectors == 0 ? 0 : lost.random() % (sectors + 1) * kSectorBytes);
      }
      redo(change, file.safe);
    }
    static_cast<void>(::syscall(SYS_ftruncate, file.fd, 0));
    for (std::size_t done = 0; done < file.safe.size();) {
      const long put =
          ::syscall(SYS_pwrite64, file.fd, file.safe.data() + done, file.safe.size() - done, done);
      if (put <= 0) std::abort();
      done += static_cast<std::size_t>(put);
    }
  }
}

void undo(const NameChange& change) {
  std::error_code ignored;
  switch (change.kind) {
    case NameChange::Kind::made:
      fs::remove_all(change.name, ignored);
      return;
    case NameChange::Kind::renamed:
      fs::rename(change.name, change.from, ignored);
      [[fallthrough]];
    case NameChange::Kind::removed:
      if (!change.kept.empty()) fs::rename(change.kept, change.name, ignored);
      return;
  }
}

// The first few changes of each folder survive.
void lose_names(Disk& lost, unsigned surviving_percent) {
  std::map<std::string, bool> ended;
  std::vector<const NameChange*> undone;
  for (const NameChange& change : lost.names) {
    bool& end = ended[change.folder];
    end = end || lost.random() % 100 >= surviving_percent;
    if (end) undone.push_back(&change);
  }
  while (!undone.empty()) undo(*undone.back()), undone.pop_back();
}

}  // namespace

void start_disk(const DiskPlan& plan) {
  disk = new Disk{plan, std::mt19937(plan.seed), 0, {}, {}, 0};  // as long as the process
}

std::uint64_t disk_calls() { return disk->calls; }

void lose_power() {
  const std::lock_guard lock(mutex);
  Disk& lost = *std::exchange(disk, nullptr);
  constexpr unsigned kSurvivingPercent[] = {0, 50, 90};
  lose_bytes(lost, kSurvivingPercent[lost.random() % 3]);
  lose_names(lost, kSurvivingPercent[lost.random() % 3]);
  ::kill(::getpid(), SIGKILL);
  std::abort();
}

}  // namespace dgq::test

// What libraries call. Names with 64 at their end are for those that were compiled with large files.
extern "C" {

using namespace dgq::test;

ssize_t write(int fd, const void* data, std::size_t size) { return write_to(fd, data, size, -1); }
ssize_t pwrite(int fd, const void* data, std::size_t size, off_t at) { return write_to(fd, data, size, at); }
ssize_t pwrite64(int fd, const void* data, std::size_t size, off64_t at) {
  return write_to(fd, data, size, at);
}
ssize_t read(int fd, void* data, std::size_t size) { return read_from(fd, data, size, -1); }
ssize_t pread(int fd, void* data, std::size_t size, off_t at) { return read_from(fd, data, size, at); }
ssize_t pread64(int fd, void* data, std::size_t size, off64_t at) { return read_from(fd, data, size, at); }
int ftruncate(int fd, off_t size) noexcept { return truncate_to(fd, size); }
int ftruncate64(int fd, off64_t size) noexcept { return truncate_to(fd, size); }
int fsync(int fd) { return sync(fd); }
int fdatasync(int fd) { return sync(fd); }

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open_at(path, flags, mode);
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int mkostemp(char* pattern, int flags) {
  static unsigned number = 0;
  char* end = pattern + std::strlen(pattern) - 6;
  while (true) {
    std::snprintf(end, 7, "%06x", (static_cast<unsigned>(::getpid()) * 31 + number++) & 0xffffff);
    const int fd = open_at(pattern, flags | O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}
int rename(const char* from, const char* to) noexcept { return rename_to(from, to, 0); }
int renameat2(int, const char* from, int, const char* to, unsigned flags) noexcept {
  return rename_to(from, to, flags);  // ours are absolute
}
int unlink(const char* path) noexcept { return remove_name(path, 0); }
int rmdir(const char* path) noexcept { return remove_name(path, AT_REMOVEDIR); }
int mkdir(const char* path, mode_t mode) noexcept { return make_folder(path, mode); }

}  // extern "C"
