#include "registry/file_system.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

namespace dgq {
namespace {

constexpr std::uint32_t kFuse = 0x65735546;

// From linux/magic.h, and from the sources of those that are not in the kernel.
struct Shared {
  std::uint32_t f_type;
  const char* name;
};
constexpr Shared kShared[] = {
    {0x6969, "NFS"},        {0xff534d42, "CIFS"},     {0xfe534d42, "SMB2"},     {0x517b, "SMB"},
    {0x564c, "NCP"},        {0x01021997, "9p"},       {0x5346414f, "AFS"},      {0x6b414653, "AFS"},
    {0x73757245, "Coda"},   {0x00c36400, "Ceph"},     {0x0bd00bd0, "Lustre"},   {0x7461636f, "OCFS2"},
    {0x01161970, "GFS2"},   {0x47504653, "GPFS"},     {0x20030528, "OrangeFS"}, {0x19830326, "BeeGFS"},
    {0xaad7aaea, "PanFS"},  {0xbeefdead, "StorNext"}, {0x013111a8, "IBRIX"},    {0x61636673, "ACFS"},
    {0xbacbacbc, "vmhgfs"}, {0x786f4256, "vboxsf"},   {0x7c7c6673, "prl_fs"},
};

// A block device (NTFS, exFAT), the root of containers that are not root's, folders shown elsewhere, encrypted or joined.
constexpr std::string_view kLocalFuse[] = {"fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.gocryptfs",
                                           "fuse.mergerfs"};

// The first field up to `end`, which it takes off `text`.
std::string_view take_until(std::string_view& text, std::string_view end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view field = text.substr(0, at);
  text.remove_prefix(std::min(at + end.size(), text.size()));
  return field;
}

std::string mountinfo() {
  std::ifstream in("/proc/self/mountinfo", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::string_view shared_file_system(std::uint32_t f_type, std::string_view mount_type) {
  if (f_type == kFuse) {
    if (std::ranges::find(kLocalFuse, mount_type) != std::end(kLocalFuse)) return {};
    return mount_type.empty() ? "FUSE" : mount_type;
  }
  const auto* found = std::ranges::find(kShared, f_type, &Shared::f_type);
  return found == std::end(kShared) ? std::string_view() : found->name;
}

// "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw": the third field, and the one after " - ".
std::string_view mount_type_of(std::string_view mountinfo, std::string_view device) {
  while (!mountinfo.empty()) {
    std::string_view line = take_until(mountinfo, "\n");
    take_until(line, " ");
    take_until(line, " ");
    if (take_until(line, " ") != device) continue;
    take_until(line, " - ");
    return take_until(line, " ");
  }
  return {};
}

FileSystem file_system_of(const std::filesystem::path& file) {
  std::error_code ignored;
  std::filesystem::path there = std::filesystem::absolute(file, ignored);
  struct statfs info;
  while (::statfs(there.c_str(), &info) != 0) {
    if (errno != ENOENT || there == there.parent_path()) return {};
    there = there.parent_path();
  }
  const auto f_type = static_cast<std::uint32_t>(info.f_type);
  std::string mounts, device;
  if (struct stat status; f_type == kFuse && ::stat(there.c_str(), &status) == 0) {
    mounts = mountinfo();
    device = std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
  }
  return {std::string(shared_file_system(f_type, mount_type_of(mounts, device))),
          (info.f_flags & ST_RDONLY) != 0};
}

}  // namespace dgq
