// registry/file_system.h - which file systems a registry can live on. Internal to registry/.
//
// In WAL mode SQLite keeps an index in memory that all users of the file map, and it counts on the file's locks. Between machines
// there is no such memory, and locks may say yes to two: two writers would damage the file, silently. So what other machines may
// have as well is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace dgq {

// What a file system is called that other machines may have as well; empty for one of this machine alone. f_type: as statfs(2) gives
// it. mount_type: as /proc/self/mountinfo has it, "fuse.sshfs"; it counts for FUSE, where f_type does not tell. There only
// those are local that are known to be, since a wrong guess costs a file: what a program of its own does is not to be seen.
std::string_view shared_file_system(std::uint32_t f_type, std::string_view mount_type);

// The type of the mounts of a device, "8:1", in the text of /proc/self/mountinfo; empty: there is none.
std::string_view mount_type_of(std::string_view mountinfo, std::string_view device);

struct FileSystem {
  std::string shared;      // shared_file_system()
  bool read_only = false;  // mounted so
};
// Of the file, or where it would be made. One that cannot be asked is taken for local: opening the file will say why.
FileSystem file_system_of(const std::filesystem::path& file);

}  // namespace dgq
