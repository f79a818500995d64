// OCI image layouts: written, read, refused; and carried by the tools that fleets have.
#include "registry/oci.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

class OciTest : public ExchangeFixture {
 protected:
  fs::path exported(const std::vector<std::string>& names, const char* folder = "layout") {
    Registry registry = open(Registry::Mode::read_only);
    EXPECT_OK(registry.export_oci(names, scratch_ / folder));
    return scratch_ / folder;
  }
  static fs::path blob(const fs::path& layout, const Digest& digest) {
    return layout / "blobs/sha256" / digest.hex();
  }
  static Digest image_of(const fs::path& layout) {
    return parse_oci_index(file_text(layout / "index.json"), "test")->front().digest;
  }
};

TEST_F(OciTest, RoundTrip) {
  const fs::path layout = exported({"demo:one", "team/demo:two"});
  EXPECT_EQ(std::distance(fs::directory_iterator(layout / "blobs/sha256"), {}),
            6 + 2 * 2);  // blobs, then config and image of both
  EXPECT_EQ(file_text(layout / "oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
  Registry registry = other();
  const auto summary = registry.import_oci(layout, {});
  ASSERT_TRUE(summary) << summary.error().what;
  EXPECT_EQ(summary->new_blobs, 6u);
  EXPECT_EQ(registry.resolve("demo:one")->digest, one_);
  EXPECT_EQ(registry.resolve("team/demo:two")->digest, two_);
  expect_whole(registry, "team/demo:two", large_);
  expect_no_faults(registry);
  EXPECT_LT(registry.stats()->stored_bytes, registry.stats()->raw_bytes);  // compressed again
  EXPECT_EQ(registry.import_oci(layout, {})->new_blobs, 0u);
}

TEST_F(OciTest, NamesCanBeGiven) {
  const fs::path layout = exported({"demo:one"});
  Registry registry = other();
  EXPECT_OK(registry.import_oci(layout, *ModelRef::parse("fleet/demo:v7")));
  EXPECT_EQ(registry.resolve("fleet/demo:v7")->tags, std::vector<std::string>{"fleet/demo:v7"});
  expect_clear(
      registry.import_oci(exported({"demo:one", "team/demo:two"}, "both"), *ModelRef::parse("demo")).error(),
      Errc::invalid, "2 versions");
  // An image without names, as another tool may write it.
  auto image = *OciManifest::parse(file_text(blob(layout, image_of(layout))), "test");
  image.names.clear();
  const std::string text = image.text();
  std::ofstream(blob(layout, sha256(text))) << text;
  std::ofstream(layout / "index.json") << oci_index_text({{sha256(text), text.size(), ""}});
  expect_clear(registry.import_oci(layout, {}).error(), Errc::invalid, "--name");
  EXPECT_OK(registry.import_oci(layout, *ModelRef::parse("demo")));
}

TEST_F(OciTest, OnlyAnEmptyFolderIsWrittenTo) {
  Registry registry = open();
  const fs::path layout = exported({"demo:one"});
  expect_clear(registry.export_oci({"demo:one"}, layout).error(), Errc::invalid, "not empty");
  fs::create_directory(scratch_ / "empty");
  EXPECT_OK(registry.export_oci({"demo:one"}, scratch_ / "empty"));
  expect_clear(registry.export_oci({"nothing"}, scratch_ / "new").error(), Errc::not_found, "nothing");
  EXPECT_FALSE(fs::exists(scratch_ / "new"));
}

// The last chunk of team/demo:two does not decode: when that is seen, most of the layout is written.
TEST_F(OciTest, AnExportThatFailsLeavesNothing) {
  sql("UPDATE chunk SET data = zeroblob(length(data)) WHERE rowid = (SELECT max(rowid) FROM chunk WHERE "
      "codec = 1)");
  Registry registry = open();
  EXPECT_FALSE(registry.export_oci({"team/demo:two"}, scratch_ / "layout"));
  EXPECT_TRUE(fs::is_empty(scratch_ / "layout"));
  EXPECT_OK(registry.export_oci({"demo:one"}, scratch_ / "layout"));
  fs::remove(scratch_ / "layout/oci-layout");
  expect_clear(registry.export_oci({"demo:one"}, scratch_ / "layout").error(), Errc::invalid, "killed");
}

// Each spoils a good layout of demo:one.
TEST_F(OciTest, BadLayoutsAreRefusedAndChangeNothing) {
  const fs::path good = exported({"demo:one"});
  const Digest image = image_of(good), layer = open().resolve("demo:one")->manifest.blobs[1].digest;
  const auto replace_in = [](const fs::path& file, const std::string& from, const std::string& to) {
    std::string text = file_text(file);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    std::ofstream(file, std::ios::binary) << text.replace(at, from.size(), to);
  };
  const auto link = [](const fs::path& file) {
    fs::rename(file, file.parent_path().parent_path() / "moved");
    fs::create_symlink(file.parent_path().parent_path() / "moved", file);
  };
  struct Case {
    std::string expected;
    std::function<void(const fs::path&)> spoil;
  };
  const Case cases[] = {
      {"oci-layout", [](const fs::path& at) { fs::remove(at / "oci-layout"); }},
      {"2.0.0", [&](const fs::path& at) { replace_in(at / "oci-layout", "1.0.0", "2.0.0"); }},
      {"index.json", [](const fs::path& at) { fs::resize_file(at / "index.json", 20); }},
      {"64 lower-case hex", [&](const fs::path& at) { replace_in(at / "index.json", "sha256:", "sha512:"); }},
      {"64 lower-case hex",
       [&](const fs::path& at) {
         replace_in(at / "index.json", "sha256:" + image.hex(), "sha256:../../../../etc/passwd");
       }},
      {"64 lower-case hex",
       [&](const fs::path& at) { replace_in(at / "index.json", "sha256:", "sha256:/"); }},
      {"media type",
       [&](const fs::path& at) { replace_in(at / "index.json", "image.manifest.v1", "image.index.v1"); }},
      {"digest and size",
       [&](const fs::path& at) { replace_in(at / "index.json", "\"size\":", "\"size\":1"); }},
      {"digest and size", [&](const fs::path& at) { replace_in(blob(at, image), "layers.0", "layers.9"); }},
      {"digest and size", [&](const fs::path& at) { replace_in(blob(at, one_), "64", "65"); }},
      {"do not match",
       [&](const fs::path& at) {
         std::string text = file_text(blob(at, layer));
         text[1000] ^= 1;
         std::ofstream(blob(at, layer), std::ios::binary) << text;
       }},
      {"bytes of its descriptor", [&](const fs::path& at) { fs::resize_file(blob(at, layer), 99'999); }},
      {"bytes of its descriptor", [&](const fs::path& at) { fs::resize_file(blob(at, layer), 100'001); }},
      {"No such file", [&](const fs::path& at) { fs::remove(blob(at, layer)); }},
      {"is a link", [&](const fs::path& at) { link(blob(at, layer)); }},
      {"is a link", [&](const fs::path& at) { link(blob(at, image)); }},
      {"is a link", [&](const fs::path& at) { link(at / "blobs/sha256"); }},
      {"not a regular file",
       [&](const fs::path& at) {
         fs::remove(blob(at, layer));
         ASSERT_EQ(::mkfifo(blob(at, layer).c_str(), 0600), 0);
       }},
      {"not the blobs of its config",
       [&](const fs::path& at) {
         auto changed = *OciManifest::parse(file_text(blob(at, image)), "test");
         changed.layers.pop_back();
         const std::string text = changed.text();
         std::ofstream(blob(at, sha256(text))) << text;
         std::ofstream(at / "index.json") << oci_index_text({{sha256(text), text.size(), ""}});
       }},
  };
  Registry registry = other();
  for (const Case& spoiled : cases) {
    const fs::path layout = scratch_ / "spoiled";
    fs::remove_all(layout);
    fs::copy(good, layout, fs::copy_options::recursive);
    spoiled.spoil(layout);
    const auto imported = registry.import_oci(layout, {});
    ASSERT_FALSE(imported) << spoiled.expected;
    EXPECT_NE(imported.error().what.find(spoiled.expected), std::string::npos) << imported.error().what;
    EXPECT_EQ(imported.error().what.find('\n'), std::string::npos);
    EXPECT_TRUE(registry.list()->empty());
  }
  expect_no_faults(registry);
  EXPECT_OK(registry.import_oci(good, {}));
}

TEST_F(OciTest, Command) {
  other();
  const std::string dgq = dgq_command() + " registry ", layout = (scratch_ / "layout").string();
  const auto in = [&](const char* name) { return " --registry " + (scratch_ / name).string(); };
  const Outcome out = run_shell(dgq + "export team/demo:two --oci " + layout + " --json" + in("registry.db"));
  ASSERT_EQ(out.exit_code, 0) << out.err;
  EXPECT_EQ(Json::parse(out.out).at("blobs"), 6);
  const Outcome back =
      run_shell(dgq + "import --oci " + layout + " --name demo:next --json" + in("other.db"));
  ASSERT_EQ(back.exit_code, 0) << back.err;
  EXPECT_EQ(Json::parse(back.out).at("versions").at(0).at("version"), two_.hex());
  for (const std::string wrong :
       {"import", "import x --oci y", "import x --name y", "export demo:one --oci a -o b",
        "export demo:one --oci a --since demo:one"}) {
    const Outcome outcome = run_shell(dgq + wrong + in("registry.db"));
    EXPECT_EQ(outcome.exit_code, 2) << wrong;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  }
}

// A docker-registry on a free port of this machine, gone with its test. False where it is not installed.
class DockerRegistry {
 public:
  ~DockerRegistry() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  bool start(const fs::path& folder) {
    if (run_shell("command -v docker-registry && command -v skopeo").exit_code != 0) return false;
    address_ = "127.0.0.1:" + std::to_string(free_port());
    const fs::path config = folder / "registry.yml", log = folder / "registry.log";
    std::ofstream(config) << "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: "
                          << (folder / "storage").string() << "\nhttp:\n  addr: " << address_ << "\n";
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT, 0600);
      ::dup2(fd, 1), ::dup2(fd, 2);
      ::execlp("docker-registry", "docker-registry", "serve", config.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    for (int i = 0; i < 300; ++i) {
      if (connects()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    ADD_FAILURE() << "docker-registry does not answer: " << file_text(log);
    return true;
  }
  const std::string& address() const { return address_; }

 private:
  static sockaddr_in local(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static std::uint16_t free_port() {
    const Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = local(0);
    socklen_t size = sizeof address;
    ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  bool connects() const {
    const Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address =
        local(static_cast<std::uint16_t>(std::stoi(address_.substr(address_.find(':') + 1))));
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  pid_t pid_ = -1;
  std::string address_;
};

TEST_F(OciTest, ThroughAContainerRegistry) {
  DockerRegistry server;
  if (!server.start(scratch_.path())) {
    not_covered("OCI: push and pull with skopeo and docker-registry (not installed)");
    GTEST_SKIP();
  }
  const fs::path layout = exported({"team/demo:two"}), pulled = scratch_ / "pulled";
  const std::string skopeo = "skopeo --insecure-policy copy ",
                    remote = "docker://" + server.address() + "/team/demo:two";
  const Outcome push = run_shell(skopeo + "--dest-tls-verify=false oci:" + layout.string() + " " + remote);
  ASSERT_EQ(push.exit_code, 0) << push.err;
  const Outcome pull =
      run_shell(skopeo + "--src-tls-verify=false " + remote + " oci:" + pulled.string() + ":latest");
  ASSERT_EQ(pull.exit_code, 0) << pull.err;
  EXPECT_EQ(image_of(pulled), image_of(layout));
  Registry registry = other();
  EXPECT_OK(registry.import_oci(pulled, {}));
  EXPECT_EQ(registry.resolve("team/demo:two")->digest, two_);
  expect_whole(registry, "team/demo:two", large_);
  expect_no_faults(registry);
}

}  // namespace
}  // namespace dgq::test
