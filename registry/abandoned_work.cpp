// registry/abandoned_work.cpp - work folders that jobs of `dgq quantize` have left behind (docs/FORMAT.md, section 7).
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <chrono>

#include "registry/audit.h"
#include "registry/state.h"

namespace dgq {

namespace fs = std::filesystem;

namespace {

// As long as interrupted imports: who comes back to a job does so within days.
constexpr auto kAbandonedAfter = std::chrono::hours(7 * 24);

// Holds the folder's lock, so that no run starts in it meanwhile. No Fd: a run has it, or it is no work folder.
Fd lock_alone(const fs::path& folder) {
  Fd lock(::open((folder / "lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0 ? std::move(lock) : Fd();
}

struct Contents {
  std::vector<fs::path> files;
  std::uint64_t bytes = 0;
  fs::file_time_type newest = fs::file_time_type::min();
};

Contents contents_of(const fs::path& folder) {
  Contents contents;
  std::error_code ignored;
  contents.newest = fs::last_write_time(folder, ignored);
  for (fs::directory_iterator at(folder, ignored), end; at != end; at.increment(ignored)) {
    if (ignored || !fs::is_regular_file(at->symlink_status(ignored))) continue;
    contents.files.push_back(at->path());
    contents.bytes += at->file_size(ignored);
    contents.newest = std::max(contents.newest, at->last_write_time(ignored));
  }
  return contents;
}

bool is_job(const fs::path& folder) {
  std::error_code ignored;
  return Digest::parse(folder.filename().string()) && fs::is_directory(fs::symlink_status(folder, ignored));
}

void remove_folder(const fs::path& folder, const Contents& contents) {
  std::error_code ignored;
  for (const fs::path& file : contents.files) fs::remove(file, ignored);
  fs::remove(folder, ignored);  // stays when someone else's things are in it
}

AbandonedWork each_abandoned(const fs::path& work, bool remove) {
  AbandonedWork found;
  std::error_code ignored;
  std::vector<fs::path> jobs;
  for (fs::directory_iterator at(work, ignored), end; !ignored && at != end; at.increment(ignored))
    if (is_job(at->path())) jobs.push_back(at->path());
  for (const fs::path& job : jobs) {
    const Fd lock = lock_alone(job);
    if (!lock) continue;
    const Contents contents = contents_of(job);
    if (contents.newest > fs::file_time_type::clock::now() - kAbandonedAfter) continue;
    ++found.folders;
    found.bytes += contents.bytes;
    if (remove) remove_folder(job, contents);
  }
  return found;
}

}  // namespace

Result<AbandonedWork> Registry::abandoned_work(bool remove) {
  if (remove) DGQ_CHECK(state_->require_writable());
  const AbandonedWork found = each_abandoned(path().string() + ".work", remove);
  if (remove && found.folders > 0)
    DGQ_CHECK(write_audit(
        *state_->db, "gc",
        std::to_string(found.folders) + " work folders, " + std::to_string(found.bytes) + " bytes",
        std::nullopt, std::nullopt));
  return found;
}

}  // namespace dgq
