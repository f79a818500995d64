// tools/cmd_registry_diff.cpp - `dgq registry diff`: what is different between two versions, and what it takes to go from one
// to the other.
#include <map>

#include "quantizer/report.h"
#include "registry/registry.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

const char* change_of(const BlobDiff& blob) {
  if (!blob.b) return "only in A";
  if (!blob.a) return "only in B";
  return blob.same() ? "same" : "changed";
}

std::string kind_text(const std::optional<TensorInfo>& tensor) {
  if (!tensor) return "-";
  switch (tensor->kind) {
    case TensorKind::f32:
      return "f32";
    case TensorKind::w4_n16k8:
      return "w4/" + std::to_string(tensor->group);
    case TensorKind::w8_n16k4:
      return "w8";
    case TensorKind::w6_n16k8:
      return "w6/" + std::to_string(tensor->group);
    case TensorKind::scales:
      return "scales";
  }
  return "?";
}

// Errors by tensor, of a report that is understood.
using Errors = std::map<std::string, double>;

Errors errors_of(const VersionInfo& version) {
  Errors errors;
  if (version.manifest.report.is_null()) return errors;
  if (const auto tensors = report_from_json(version.manifest.report, "report"))
    for (const TensorReport& tensor : *tensors) errors[tensor.name] = tensor.error;
  return errors;
}

std::optional<double> find(const Errors& errors, const std::string& name) {
  const auto found = errors.find(name);
  return found == errors.end() ? std::nullopt : std::optional(found->second);
}

struct TensorLine {
  std::string name;
  const TensorDiff& diff;
  std::optional<double> error_a, error_b;
};

std::vector<TensorLine> tensor_lines(const VersionDiff& diff) {
  const Errors a = errors_of(diff.a), b = errors_of(diff.b);
  std::vector<TensorLine> lines;
  for (const BlobDiff& blob : diff.blobs)
    for (const TensorDiff& tensor : blob.tensors) {
      const std::string name = blob.name + "." + tensor.name;
      lines.push_back({name, tensor, find(a, name), find(b, name)});
    }
  return lines;
}

// One member that is not the same, by its JSON pointer; null where it is not there.
struct KeyChange {
  std::string path;
  Json a, b;
};

std::vector<KeyChange> key_changes(const Manifest& a, const Manifest& b) {
  const auto described = [](const Manifest& m) {
    return Json{{"config", m.config},
                {"activation_block", m.activation_block},
                {"recipe", m.recipe},
                {"provenance", m.provenance}}
        .flatten();
  };
  const Json flat_a = described(a), flat_b = described(b);
  std::map<std::string, KeyChange> changes;
  for (const auto& [path, value] : flat_a.items())
    if (!flat_b.contains(path) || flat_b[path] != value)
      changes[path] = {path, value, flat_b.value(path, Json())};
  for (const auto& [path, value] : flat_b.items())
    if (!flat_a.contains(path)) changes[path] = {path, Json(), value};
  std::vector<KeyChange> list;
  for (auto& [path, change] : changes) list.push_back(std::move(change));
  return list;
}

struct Totals {
  std::uint64_t same = 0, changed = 0, only_a = 0, only_b = 0, transfer_blobs = 0, transfer_bytes = 0;
};

Totals totals(const VersionDiff& diff) {
  Totals sum;
  for (const BlobDiff& blob : diff.blobs) {
    ++(!blob.b ? sum.only_a : !blob.a ? sum.only_b : blob.same() ? sum.same : sum.changed);
    sum.transfer_blobs += blob.transfer_bytes > 0;
    sum.transfer_bytes += blob.transfer_bytes;
  }
  return sum;
}

void print_blobs(const VersionDiff& diff) {
  Table table({"BLOB", "CHANGE", "A", "B", ">BYTES A", ">BYTES B", ">TRANSFER"});
  const auto digest = [](const std::optional<BlobRef>& blob) {
    return blob ? blob->digest.short_hex() : "-";
  };
  const auto bytes = [](const std::optional<BlobRef>& blob) {
    return blob ? std::to_string(blob->bytes) : "-";
  };
  for (const BlobDiff& blob : diff.blobs)
    if (!blob.same())
      table.add({blob.name, change_of(blob), digest(blob.a), digest(blob.b), bytes(blob.a), bytes(blob.b),
                 std::to_string(blob.transfer_bytes)});
  std::cout << '\n';
  table.print();
}

void print_tensors(const std::vector<TensorLine>& lines) {
  if (lines.empty()) return;
  Table table({"TENSOR", "A", "B", ">DIFFERS", ">ERROR A", ">ERROR B", ">CHANGE"});
  const auto error = [](const std::optional<double>& value) { return value ? number("%.4g", *value) : "-"; };
  for (const TensorLine& line : lines) {
    const auto& sections = line.diff.sections;
    const bool both = line.error_a && line.error_b && *line.error_a > 0;
    table.add({line.name, kind_text(line.diff.a), kind_text(line.diff.b),
               sections ? number("%.2f %%", 100 * static_cast<double>(sections->differing) /
                                                static_cast<double>(sections->bytes))
                        : "-",
               error(line.error_a), error(line.error_b),
               both ? number("%+.1f %%", 100 * (*line.error_b / *line.error_a - 1)) : "-"});
  }
  std::cout << '\n';
  table.print();
  std::cout << "Differs: share of the tensor's bytes. Errors: as in `show`.\n";
}

void print_keys(const std::vector<KeyChange>& changes) {
  if (changes.empty()) return;
  constexpr std::size_t kWidth = 40;
  const auto cell = [](const Json& value) {
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > kWidth ? text.substr(0, kWidth - 3) + "..." : text;
  };
  Table table({"MANIFEST", "A", "B"});
  for (const KeyChange& change : changes) table.add({one_line(change.path), cell(change.a), cell(change.b)});
  std::cout << '\n';
  table.print();
}

void print_text(const VersionDiff& diff) {
  const Totals sum = totals(diff);
  std::cout << "A  " << diff.a.digest.hex() << "\nB  " << diff.b.digest.hex() << '\n';
  if (diff.a.digest == diff.b.digest) {
    std::cout << "the same version\n";
    return;
  }
  if (sum.changed + sum.only_a + sum.only_b > 0) print_blobs(diff);
  print_tensors(tensor_lines(diff));
  print_keys(key_changes(diff.a.manifest, diff.b.manifest));
  std::cout << '\n'
            << sum.same << " blobs the same, " << sum.changed << " changed, " << sum.only_a << " only in A, "
            << sum.only_b << " only in B; who has A needs " << size_text(sum.transfer_bytes) << " in "
            << sum.transfer_blobs << " blobs for B\n";
}

Json blob_json(const BlobDiff& blob) {
  const auto side = [](const std::optional<BlobRef>& ref) {
    return ref ? Json{{"digest", ref->digest.hex()}, {"bytes", ref->bytes}, {"media", ref->media}} : Json();
  };
  return {{"name", blob.name},
          {"change", change_of(blob)},
          {"a", side(blob.a)},
          {"b", side(blob.b)},
          {"transfer_bytes", blob.transfer_bytes}};
}

Json tensor_json(const TensorLine& line) {
  const auto optional = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const auto& sections = line.diff.sections;
  return {{"name", line.name},
          {"kind_a", kind_text(line.diff.a)},
          {"kind_b", kind_text(line.diff.b)},
          {"bytes", sections ? Json(sections->bytes) : Json()},
          {"bytes_differing", sections ? Json(sections->differing) : Json()},
          {"error_a", optional(line.error_a)},
          {"error_b", optional(line.error_b)}};
}

Json as_json(const VersionDiff& diff, const std::string& registry) {
  Json blobs = Json::array(), tensors = Json::array(), keys = Json::array();
  for (const BlobDiff& blob : diff.blobs) blobs.push_back(blob_json(blob));
  for (const TensorLine& line : tensor_lines(diff)) tensors.push_back(tensor_json(line));
  for (const KeyChange& change : key_changes(diff.a.manifest, diff.b.manifest))
    keys.push_back({{"path", change.path}, {"a", change.a}, {"b", change.b}});
  const Totals sum = totals(diff);
  return {{"registry", registry},
          {"a", diff.a.digest.hex()},
          {"b", diff.b.digest.hex()},
          {"same", diff.a.digest == diff.b.digest},
          {"blobs", std::move(blobs)},
          {"tensors", std::move(tensors)},
          {"manifest", std::move(keys)},
          {"transfer_blobs", sum.transfer_blobs},
          {"transfer_bytes", sum.transfer_bytes}};
}

}  // namespace

Result<int> registry_diff(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry diff A B [options]",
      "Compares two versions, each NAME[:TAG] or a digest: blobs, tensors (kinds, how much of their bytes "
      "differs, "
      "errors), config, recipe and provenance, and the bytes that B takes on its way to someone who has A.",
      "  dgq registry diff demo:stable demo:next\n"
      "  dgq registry diff demo demo:next --json | jq .transfer_bytes\n"
      "  dgq registry diff demo demo:next --exit-code >/dev/null && echo the same\n");
  options.named.add_options()("exit-code", po::bool_switch(),
                              "exit with 1 when they are not the same version");
  DGQ_TRY(const bool go_on, parse_with(options, arguments,
                                       {{"a", "NAME[:TAG]", "a version, as the first argument or here"},
                                        {"b", "NAME[:TAG]", "the other, as the second argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const VersionDiff diff,
          registry.diff(options.get<std::string>("a"), options.get<std::string>("b")));
  if (options.get<bool>("json"))
    print_json(as_json(diff, registry.path().string()));
  else
    print_text(diff);
  return options.get<bool>("exit-code") && diff.a.digest != diff.b.digest ? kExitFindings : 0;
}

}  // namespace dgq::tools
