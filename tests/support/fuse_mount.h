// tests/support/fuse_mount.h - a FUSE file system with nothing in it, under any type's name, for as long as the object lives.
#pragma once

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace dgq::test {

class FuseMount {
 public:
  // type: "fuse.sshfs". The folder is made.
  FuseMount(const std::filesystem::path& folder, const char* type) : folder_(folder) {
    std::filesystem::create_directory(folder);
    fd_ = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
    const std::string options = "fd=" + std::to_string(fd_) + ",rootmode=40000,user_id=0,group_id=0";
    mounted_ = fd_ >= 0 && ::mount("dgq-test", folder.c_str(), type, 0, options.c_str()) == 0;
    if (mounted_) server_ = std::thread([this] { serve(); });
  }
  FuseMount(const FuseMount&) = delete;
  ~FuseMount() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);  // read() then fails with ENODEV
    if (server_.joinable()) server_.join();
    if (fd_ >= 0) ::close(fd_);
  }
  bool mounted() const { return mounted_; }  // false where that is not allowed

 private:
  void serve() {
    std::vector<char> request(1 << 17);
    while (true) {
      const ssize_t got = ::read(fd_, request.data(), request.size());
      if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
      if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
      fuse_in_header head;
      std::memcpy(&head, request.data(), sizeof head);
      answer(head);
    }
  }
  void answer(const fuse_in_header& request) {
    switch (request.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = 31;
        out.max_write = 4096;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr.ino = request.nodeid;
        out.attr.mode = S_IFDIR | 0755;
        out.attr.nlink = 2;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_STATFS: {
        const fuse_statfs_out out{};
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
        return;
      default:
        return reply(request, request.opcode == FUSE_LOOKUP ? -ENOENT : -ENOSYS, nullptr, 0);
    }
  }
  void reply(const fuse_in_header& request, int error, const void* body, std::size_t size) const {
    std::vector<char> bytes(sizeof(fuse_out_header) + size);
    const fuse_out_header head{static_cast<std::uint32_t>(bytes.size()), error, request.unique};
    std::memcpy(bytes.data(), &head, sizeof head);
    if (size > 0) std::memcpy(bytes.data() + sizeof head, body, size);
    static_cast<void>(!::write(fd_, bytes.data(), bytes.size()));
  }

  std::filesystem::path folder_;
  int fd_ = -1;
  bool mounted_ = false;
  std::thread server_;
};

}  // namespace dgq::test
