// tests/agent/deployed.h - a registry with two tiny versions, demo:a and demo:b, and a deployer that a test drives step by step.
#pragma once

#include "agent/deployer.h"
#include "registry/deployment.h"
#include "runtime/session.h"
#include "tests/registry/fixture.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::agent::test {

// Made once per build of the command, beside the test's executable, since quantizing takes seconds where this is emulated. Tests
// get copies.
inline std::filesystem::path two_versions() {
  namespace fs = std::filesystem;
  const std::string command = dgq::test::dgq_command();
  const fs::path made = fs::read_symlink("/proc/self/exe").parent_path() / "two_versions.db",
                 dgq = command.substr(command.rfind(' ') + 1);
  std::error_code missing;
  if (fs::last_write_time(made, missing) > fs::last_write_time(dgq) && !missing) return made;
  const dgq::test::ScratchFolder folder;
  for (const auto& [name, seed] : {std::pair("a", 1), {"b", 77}}) {
    dgq::test::tiny_checkpoint(static_cast<std::uint64_t>(seed)).write(folder / name);
    const auto outcome = dgq::test::run_dgq("quantize " + (folder / name).string() + " --registry " +
                                            (folder / "r.db").string() + " --name demo:" + name +
                                            " --calibration-tokens 64 --threads 1 --recipe fast");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  // Another test may do the same at this moment.
  const fs::path aside = made.string() + "." + std::to_string(::getpid());
  fs::copy_file(folder / "r.db", aside);
  fs::rename(aside, made);
  return made;
}

inline void copy_two_versions(const std::filesystem::path& to) {
  std::filesystem::copy_file(two_versions(), to);
}

inline Checker check_here(const std::filesystem::path& registry, const std::filesystem::path& cache) {
  return [=](const CheckOrder& order, const std::function<void()>& loaded,
             const std::function<bool()>& go_on) -> Result<Health> {
    DGQ_TRY(Registry opened, Registry::open(registry, Registry::Mode::read_only));
    LayerCache layers(cache);
    DGQ_TRY(const Health health, check_version(opened, layers, order.deployment, order.version, 1, loaded));
    if (!go_on()) return Error{Errc::busy, "the check was stopped"};
    return health;
  };
}

inline DeployerOptions deployer_options(const std::filesystem::path& registry) {
  DeployerOptions options;
  options.registry = registry;
  options.cache = registry.string() + ".layers";
  options.load.slots = 2;
  options.device_id = "device";
  return options;
}

// A few greedy tokens; nullopt: no answer. The reference goes when the request is there, as with the API.
inline std::optional<std::vector<std::int32_t>> say(std::shared_ptr<ServedModel> model) {
  struct Sink : TokenSink {
    bool token(const GeneratedToken& token) override {
      ids.push_back(token.id);
      return true;
    }
    void end(Finish finish, const std::string&) override {
      const std::lock_guard lock(mutex);
      how = finish;
      ended.notify_all();
    }
    std::vector<std::int32_t> ids;
    std::mutex mutex;
    std::condition_variable ended;
    std::optional<Finish> how;
  };
  if (!model) return std::nullopt;
  const auto sink = std::make_shared<Sink>();
  Generation request{{1, 2, 3}, 6, {}, false, {}};
  request.sampling.temperature = 0;
  if (!model->engine->submit(std::move(request), sink)) return std::nullopt;
  model.reset();
  std::unique_lock lock(sink->mutex);
  sink->ended.wait(lock, [&] { return sink->how.has_value(); });
  if (*sink->how != Finish::length) return std::nullopt;
  return sink->ids;
}

}  // namespace dgq::agent::test
