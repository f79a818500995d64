// Where a registry may be: the table, and what open() makes of it on file systems that this test pretends, and on a FUSE mount.
#include "registry/file_system.h"

#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "tests/registry/command_fixture.h"
#include "tests/support/fuse_mount.h"

namespace {

struct Pretended {
  std::filesystem::path folder;  // for what is below it
  std::uint32_t f_type;
  bool read_only = false;
};
std::optional<Pretended> pretended;

}  // namespace

extern "C" int statfs(const char* path, struct statfs* info) noexcept {
  const auto done = static_cast<int>(::syscall(SYS_statfs, path, info));
  if (done != 0 || !pretended || !std::string_view(path).starts_with(pretended->folder.string())) return done;
  info->f_type = static_cast<decltype(info->f_type)>(pretended->f_type);
  if (pretended->read_only) info->f_flags |= ST_RDONLY;
  return 0;
}

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kNfs = 0x6969, kFuse = 0x65735546;

TEST(SharedFileSystem, ByItsNumber) {
  const std::pair<std::uint32_t, const char*> kShared[] = {
      {kNfs, "NFS"},          {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x01021997, "9p"},
      {0x5346414f, "AFS"},    {0x6b414653, "AFS"},  {0x00c36400, "Ceph"}, {0x73757245, "Coda"},
      {0x0bd00bd0, "Lustre"}, {0x7461636f, "OCFS2"}};
  for (const auto& [f_type, name] : kShared) {
    EXPECT_EQ(shared_file_system(f_type, ""), name);
    EXPECT_EQ(shared_file_system(f_type, "ext4"), name) << "the mount's type counts for FUSE only";
  }
  // ext4, xfs, btrfs, tmpfs, overlay, f2fs, squashfs, erofs, ubifs, vfat, exfat, zfs, bcachefs; one that nobody knows
  for (const std::uint32_t f_type :
       {0xef53u, 0x58465342u, 0x9123683eu, 0x01021994u, 0x794c7630u, 0xf2f52010u, 0x73717368u, 0xe0f5e1e2u,
        0x24051905u, 0x4d44u, 0x2011bab0u, 0x2fc12fc1u, 0xca451a4eu, 0x12345678u})
    EXPECT_EQ(shared_file_system(f_type, "fuse.sshfs"), "") << std::hex << f_type;
}

TEST(SharedFileSystem, FuseByItsMount) {
  for (const char* type : {"fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.ceph",
                           "virtiofs", "fuse", "fuse.nobody-knows"})
    EXPECT_EQ(shared_file_system(kFuse, type), type);
  EXPECT_EQ(shared_file_system(kFuse, ""), "FUSE");
  for (const char* type :
       {"fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.gocryptfs", "fuse.mergerfs"})
    EXPECT_EQ(shared_file_system(kFuse, type), "");
}

TEST(SharedFileSystem, TypeOfAMount) {
  const std::string text =
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
      "36 27 0:52 / /a\\040-\\040b rw,nosuid master:1 shared:2 - fuse.sshfs me@host:/a - b rw,user_id=0\n"
      "37 27 0:5 /x /c rw - tmpfs none rw";
  EXPECT_EQ(mount_type_of(text, "254:0"), "ext4");
  EXPECT_EQ(mount_type_of(text, "0:52"), "fuse.sshfs");
  EXPECT_EQ(mount_type_of(text, "0:5"), "tmpfs");
  EXPECT_EQ(mount_type_of(text, "0:2"), "");
  EXPECT_EQ(mount_type_of("", "0:5"), "");
  EXPECT_EQ(mount_type_of("\n1 2 0:5\n- -", "0:5"), "");
}

class FileSystemTest : public RegistryCommandTest {
 protected:
  void TearDown() override { pretended.reset(); }
  void pretend(std::uint32_t f_type, bool read_only = false) {
    pretended = Pretended{scratch_.path(), f_type, read_only};
  }
  void expect_refused(Registry::Mode mode, bool create = false) {
    const auto opened = Registry::open(path(), mode, create);
    ASSERT_FALSE(opened);
    expect_clear(opened.error(), Errc::unsupported, "(NFS)");
    expect_clear(opened.error(), Errc::unsupported, "keep it on a local disk");
    expect_clear(opened.error(), Errc::unsupported, path().string());
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(scratch_.path()))
      names.push_back(entry.path().filename());
    return names;
  }
};

TEST_F(FileSystemTest, NothingIsMadeOnASharedOne) {
  pretend(kNfs);
  expect_refused(Registry::Mode::read_write, true);
  const auto below = Registry::open(scratch_ / "new/folder/registry.db", Registry::Mode::read_write, true);
  ASSERT_FALSE(below);
  expect_clear(below.error(), Errc::unsupported, "(NFS)");
  EXPECT_EQ(files(), std::vector<std::string>());
  expect_clear(Registry::open(path(), Registry::Mode::read_only).error(), Errc::not_found, "no registry at");
}

TEST_F(FileSystemTest, ARegistryThatIsThereIsNotTouched) {
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1)));
  }
  const std::string before = file_text(path());
  const auto files_before = files();
  pretend(kNfs);
  expect_refused(Registry::Mode::read_write);
  expect_refused(Registry::Mode::read_write, true);
  expect_refused(Registry::Mode::read_only);
  EXPECT_EQ(files(), files_before);
  EXPECT_TRUE(file_text(path()) == before);
  pretend(kFuse);  // the mount of the folder has the type of a disk, which is none of the local FUSE ones
  EXPECT_FALSE(Registry::open(path(), Registry::Mode::read_write));
  pretend(0xef53);
  Registry registry = open();
  expect_whole(registry, "demo", model(1));
}

TEST_F(FileSystemTest, MountedReadOnlyItIsAnImage) {
  Registry writer = open();
  ASSERT_TRUE(add(writer, "demo", model(1)));
  pretend(kNfs, true);
  expect_refused(Registry::Mode::read_write);
  ASSERT_GT(fs::file_size(path().string() + "-wal"), 0u);
  expect_clear(Registry::open(path(), Registry::Mode::read_only).error(), Errc::io, "unfinished changes");

  pretended.reset();
  { const Registry closed = std::move(writer); }
  pretend(kNfs, true);
  const auto files_before = files();
  Registry image = open(Registry::Mode::read_only);
  expect_whole(image, "demo", model(1));
  expect_no_faults(image);
  EXPECT_EQ(files(), files_before) << "no -wal, no -shm";
}

// The command, on a mount that the kernel has.
TEST_F(FileSystemTest, OnFuse) {
  const FuseMount mount(scratch_ / "remote", "fuse.sshfs");
  if (!mount.mounted()) return not_covered("a registry on FUSE: mounting is not allowed here");
  const Outcome outcome = run_dgq("registry init --registry " + (scratch_ / "remote/registry.db").string());
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_NE(outcome.err.find("(fuse.sshfs)"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace dgq::test
