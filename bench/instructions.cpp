#include "bench/instructions.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <unordered_map>

#include "base/file.h"
#include "bench/child.h"
#include "bench/kernel_case.h"
#include "runtime/buffer.h"
#include "runtime/linear.h"

namespace dgq::bench {
namespace {

constexpr std::size_t kMostOutput = std::size_t{16} << 20;

// A file that goes with this object.
class TemporaryFile {
 public:
  static Result<TemporaryFile> make() {
    std::string path = (std::filesystem::temp_directory_path() / "dgq-count-XXXXXX").string();
    const Fd fd(::mkstemp(path.data()));
    if (!fd) return errno_error("create", path, errno);
    return TemporaryFile(path);
  }
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// callgrind's file has a line "totals: N".
Result<double> callgrind_total(const std::string& path) {
  std::ifstream file(path);
  for (std::string word; file >> word; file.ignore(1 << 20, '\n'))
    if (double total = 0; word == "totals:" && file >> total) return total;
  return Error{Errc::corrupt, "callgrind's file has no totals"};
}

// qemu's log (-d in_asm,exec,nochain): "IN:" begins a block, its instructions are lines "0x...:", and "Trace" is a block that ran, with
// its address second in the brackets.
Result<double> qemu_total(const std::string& path) {
  std::ifstream file(path);
  std::unordered_map<std::uint64_t, double> sizes;
  std::uint64_t block = 0;
  double total = 0;
  bool begins = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("IN:")) {
      begins = true;
    } else if (line.starts_with("0x")) {
      const std::uint64_t address = std::strtoull(line.c_str(), nullptr, 16);
      if (begins) sizes[block = address] = 0;
      begins = false;
      ++sizes[block];
    } else if (line.starts_with("Trace")) {
      const std::size_t slash = line.find('/', line.find('['));
      if (slash == line.npos) continue;
      const auto known = sizes.find(std::strtoull(line.c_str() + slash + 1, nullptr, 16));
      if (known != sizes.end()) total += known->second;
    }
  }
  if (total > 0) return total;
  return Error{Errc::corrupt, "qemu's log has no blocks that ran"};
}

Result<double> total_of(const OutsideCounter& counter, std::vector<std::string> words) {
  DGQ_TRY(const TemporaryFile file, TemporaryFile::make());
  const bool callgrind = counter.by == "callgrind";
  std::vector<std::string> all = callgrind ? std::vector<std::string>{"valgrind", "-q", "--tool=callgrind",
                                                                      "--callgrind-out-file=" + file.path()}
                                           : std::vector<std::string>{};
  all.insert(all.end(), words.begin(), words.end());
  if (!callgrind) all.insert(all.begin() + 1, {"-d", "in_asm,exec,nochain", "-D", file.path()});
  DGQ_CHECK(run_program(all, kMostOutput));
  return callgrind ? callgrind_total(file.path()) : qemu_total(file.path());
}

const char* weights_of(Operation operation) {
  return operation == Operation::gemm_w4a8 ? "w4" : operation == Operation::gemm_w6a8 ? "w6" : "w8";
}

}  // namespace

void call_kernel(const KernelCase& c, std::size_t group, const Kernels& kernels, std::size_t calls) {
  const std::size_t m = c.m.front();
  AlignedBuffer<std::byte> section;
  section.at_least(section_bytes(c, group));
  make_section(section.data(), c, group, 1);
  const Linear linear = linear_at(section.data(), c, group);
  const std::vector<float> x = random_activations(m * c.k);
  QuantizedBuffer buffer(kActBlock);
  const LinearInput input = quantize_input(x.data(), m, c.k, *kernels.quantize_rows, buffer, 1);
  std::vector<float> y(m * c.n);
  for (std::size_t i = 0; i < calls; ++i)
    run_blocks(linear, input, kernels, 0, output_blocks(linear), y.data(), c.n);
}

Result<double> count_instructions(const std::function<void()>& work) {
  perf_event_attr what{};
  what.size = sizeof what;
  what.type = PERF_TYPE_HARDWARE;
  what.config = PERF_COUNT_HW_INSTRUCTIONS;
  what.disabled = 1;
  what.exclude_kernel = 1;
  what.exclude_hv = 1;
  const Fd fd(static_cast<int>(::syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!fd)
    return Error{
        Errc::unsupported,
        std::string("perf counts no instructions here: ") + std::strerror(errno) +
            (errno == EACCES || errno == EPERM ? " (see /proc/sys/kernel/perf_event_paranoid)" : "")};
  ::ioctl(fd.get(), PERF_EVENT_IOC_ENABLE, 0);
  work();
  ::ioctl(fd.get(), PERF_EVENT_IOC_DISABLE, 0);
  std::uint64_t count = 0;
  if (::read(fd.get(), &count, sizeof count) != sizeof count || count == 0)
    return Error{Errc::unsupported, "perf's counter of instructions stands still here"};
  return static_cast<double>(count);
}

Result<double> count_outside(const OutsideCounter& counter, const std::string& isa, const KernelCase& c,
                             std::size_t group) {
  std::vector<std::string> words = counter.words;
  for (const char* word : {"bench", "kernels", "--no-save", "--isa"}) words.emplace_back(word);
  words.push_back(isa);
  for (const auto& [name, value] :
       {std::pair{"--n", c.n}, {"--k", c.k}, {"--m", c.m.front()}, {"--group", group}}) {
    words.emplace_back(name);
    words.push_back(std::to_string(value));
  }
  words.insert(words.end(), {"--weights", weights_of(c.operation), "--calls"});
  const auto with = [&](const char* calls) {
    std::vector<std::string> all = words;
    all.emplace_back(calls);
    return total_of(counter, std::move(all));
  };
  DGQ_TRY(const double once, with("1"));
  DGQ_TRY(const double thrice, with("3"));
  return (thrice - once) / 2;
}

RunRow instruction_row(const std::string& architecture, const std::string& isa, const KernelCase& c,
                       double instructions, const std::string& by) {
  RunRow row;
  row.of = {{"architecture", architecture},
            {"isa", isa},
            {"weights", weights_of(c.operation)},
            {"m", c.m.front()},
            {"n", c.n},
            {"k", c.k},
            {"by", by},
            {"core", "any"}};
  row.unit = "instructions/MAC";
  row.more_is_better = false;
  row.samples = {instructions / static_cast<double>(c.m.front() * c.n * c.k)};
  return row;
}

Result<std::vector<RunRow>> parse_arm_loops(std::string_view text, std::string_view where) {
  DGQ_TRY(const Json json, parse_json(text, where));
  if (!json.is_array())
    return Error{Errc::corrupt, std::string(where) + " must be an array (tools/arm_loops --json)"};
  std::vector<RunRow> rows;
  for (const Json& loop : json) {
    if (!loop.is_object()) return Error{Errc::corrupt, std::string(where) + " must be an array of objects"};
    RunRow row;
    DGQ_TRY(const std::string isa, json_string(loop, "isa", where));
    DGQ_TRY(const std::string weights, json_string(loop, "weights", where));
    DGQ_TRY(const std::string call, json_string(loop, "call", where));
    DGQ_TRY(const std::string core, json_string(loop, "core", where));
    DGQ_TRY(const double value, json_number(loop, "value", where));
    DGQ_TRY(row.unit, json_string(loop, "unit", where));
    row.more_is_better = row.unit == "MAC/cycle";
    row.of = {
        {"architecture", "aarch64"}, {"isa", isa},   {"weights", weights},
        {"m", call + " loop"},       {"core", core}, {"by", row.more_is_better ? "llvm-mca" : "object code"}};
    row.samples = {value};
    if (!row.more_is_better) {
      DGQ_TRY(const double share, json_number(loop, "of_vector_instructions", where));
      row.figures = {{"of_vector_instructions", share}};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dgq::bench
