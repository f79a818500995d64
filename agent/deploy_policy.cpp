#include "agent/deploy_policy.h"

#include "agent/members.h"

namespace dgq::agent {
namespace {

constexpr std::int64_t kWeek = 7 * 86'400;
constexpr std::size_t kLongestPolicy = 1 << 20;  // bytes of JSON; canary texts are short

// "02:00"; -1: it is none.
int minutes(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  for (const std::size_t i : {0, 1, 3, 4})
    if (text[i] < '0' || text[i] > '9') return -1;
  const int hour = (text[0] - '0') * 10 + (text[1] - '0'), minute = (text[3] - '0') * 10 + (text[4] - '0');
  return hour < 24 && minute < 60 ? hour * 60 + minute : -1;
}

}  // namespace

bool DailyWindow::contains(std::int64_t unix_s) const {
  const int now = static_cast<int>(unix_s % 86'400 / 60);
  return begin < end ? now >= begin && now < end : now >= begin || now < end;
}

std::string DailyWindow::text() const {
  char text[16];
  std::snprintf(text, sizeof text, "%02d:%02d-%02d:%02d", begin / 60 % 24, begin % 60, end / 60 % 24,
                end % 60);
  return text;
}

Result<DailyWindow> DailyWindow::parse(std::string_view text) {
  if (text.size() == 11 && text[5] == '-') {
    const DailyWindow window{minutes(text.substr(0, 5)), minutes(text.substr(6))};
    if (window.begin >= 0 && window.end >= 0 && window.begin != window.end) return window;
  }
  return Error{Errc::invalid, "a window is two times of the day (UTC) such as 02:00-04:00, not '" +
                                  std::string(text.substr(0, 40)) + "'"};
}

Result<DeployPolicy> read_policy(const Json& json) {
  if (!json.is_object()) return Error{Errc::invalid, "a policy is a JSON object"};
  DeployPolicy policy;
  Members members(json);
  const auto flag = [&](const char* name, bool& value) { value = members.flag(name).value_or(value); };
  const auto integer = [&](const char* name, std::int64_t low, std::int64_t high, std::int64_t& value) {
    value = members.integer(name, low, high).value_or(value);
  };
  flag("replace", policy.replace);
  flag("pin", policy.pin);
  flag("require_signature", policy.require_signature);
  policy.rollout = members.number("rollout", 0, 100).value_or(policy.rollout);
  if (const auto window = members.text("window")) {
    const auto parsed = DailyWindow::parse(*window);
    if (parsed)
      policy.window = *parsed;
    else
      members.fail("window", "is none: " + parsed.error().what);
  }
  integer("max_crashes", 1, 1000, policy.max_crashes);
  integer("max_failures", 1, 1'000'000, policy.max_failures);
  integer("fault_window_s", 1, kWeek, policy.fault_window_s);
  integer("check_time_s", 1, 86'400, policy.check_time_s);
  if (const Json* check = members.value("check")) {
    DGQ_TRY(policy.check, read_health_check(*check));
  }
  if (const auto error = members.error()) return Error{Errc::invalid, "the policy: " + error->message};
  return policy;
}

Result<std::string> changed_policy(const std::string& before, const Json& change) {
  DGQ_TRY(Json policy, parse_json(before, "the policy that is stored"));
  if (!policy.is_object() || !change.is_object()) return Error{Errc::invalid, "a policy is a JSON object"};
  for (const auto& [name, value] : change.items()) {
    if (value.is_null())
      policy.erase(name);
    else
      policy[name] = value;
  }
  DGQ_CHECK(read_policy(policy));
  const std::string text = dump(policy);
  if (text.size() > kLongestPolicy)
    return Error{Errc::invalid, "the policy has more than " + std::to_string(kLongestPolicy) +
                                    " bytes: choose a shorter canary text"};
  return text;
}

double rollout_place(std::string_view device_id, std::string_view deployment) {
  const Digest hash = sha256(std::string(device_id) + "\n" + std::string(deployment));
  std::uint64_t value = 0;
  for (int i = 0; i < 6; ++i) value = value << 8 | hash.bytes[static_cast<std::size_t>(i)];
  return 100.0 * static_cast<double>(value) / static_cast<double>(std::uint64_t{1} << 48);
}

}  // namespace dgq::agent
