// tests/support/unreliable_disk.h - a disk that fails, and that forgets what was not synced when power is lost.
//
// unreliable_disk.cpp defines write, pwrite, fsync, open, rename and their like, so that everything in the executable which links
// it calls these, SQLite's and the standard library's shared objects as well. Until start_disk() they pass through, but nothing is
// ever really synced: what survives is decided here, and tests are quick.
//
// What is lost with power is what POSIX allows, not what some file system does: bytes are safe once their file was synced, a name
// (made, changed, removed) once its folder was. Of the others any may survive: writes in any choice and torn between sectors, names
// of one folder up to some point. A sync that fails has lost its bytes for good, as Linux has it.
#pragma once

#include <cstdint>
#include <filesystem>

namespace dgq::test {

struct DiskPlan {
  enum class Event {
    none,
    kill,        // the process dies, what it wrote stays
    power_loss,  // the process dies, and what was not synced is lost
    fail,        // the call fails: EIO or ENOSPC
    full,        // from this call on, whatever needs room fails with ENOSPC
    shorten,     // from this call on, writes write a part of what they were given
  };
  std::filesystem::path root;  // only files below it are concerned; it is a folder itself, and safe
  Event event = Event::none;
  std::uint64_t at = 0;  // the call to which it happens, from 1
  unsigned seed = 0;
  bool syncs = true;  // false: a disk that lies: syncing does nothing and says it did
};

// For a process of its own: it never ends. Calls are counted from here.
void start_disk(const DiskPlan& plan);
// Calls below root so far that change something (and that read, when the plan lets calls fail).
std::uint64_t disk_calls();
[[noreturn]] void lose_power();

}  // namespace dgq::test
