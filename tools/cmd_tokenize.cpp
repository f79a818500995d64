// `dgq tokenize`: text to token ids and back.
#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "base/file.h"
#include "registry/trust.h"
#include "runtime/tokenizer.h"
#include "tools/command.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

using Ids = std::vector<std::int32_t>;

Result<Tokenizer> load_from_registry(const Options& options) {
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  const std::string& name = options.get<std::string>("model");
  DGQ_TRY(const Usable usable, resolve_to_use(registry, name));
  print_warnings(usable.warnings);
  const BlobRef* blob = usable.version.manifest.find("tokenizer");
  if (!blob) return Error{Errc::not_found, name + " was stored without a tokenizer"};
  if (blob->bytes > kMaxTokenizerBytes) return Error{Errc::corrupt, name + ": its tokenizer is too large"};
  std::string json;
  DGQ_CHECK(registry.read_blob(blob->digest, [&](std::span<const std::byte> bytes) -> Result<void> {
    json.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }));
  return Tokenizer::parse(json, name + " (tokenizer)");
}

// Where the text or the ids come from: the argument, --file, or standard input.
struct Input {
  std::string name;
  std::unique_ptr<std::istream> owned;  // null: standard input
  std::istream& stream() { return owned ? *owned : std::cin; }
};

Result<Input> open_input(const Options& options) {
  if (options.has("text") && options.has("file"))
    return Error{Errc::invalid, "give a TEXT or --file, not both"};
  if (options.has("text"))
    return Input{"TEXT", std::make_unique<std::istringstream>(options.get<std::string>("text"))};
  if (!options.has("file")) return Input{"standard input", nullptr};
  const std::string& path = options.get<std::string>("file");
  auto file = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file) return errno_error("open", path, errno);
  return Input{path, std::move(file)};
}

Result<std::string> read_all(Input& input) {
  std::string text;
  char buffer[65536];
  while (input.stream().read(buffer, sizeof buffer), input.stream().gcount() > 0) {
    text.append(buffer, static_cast<std::size_t>(input.stream().gcount()));
    if (text.size() > kMaxTextBytes)
      return Error{Errc::invalid,
                   input.name + " is longer than " + human_bytes(kMaxTextBytes) + "; cut it in pieces"};
  }
  if (input.stream().bad()) return Error{Errc::io, "cannot read " + input.name};
  return text;
}

Result<void> write_line(const std::string& line) {
  std::cout << line << '\n';
  if (!std::cout) return Error{Errc::io, "cannot write to standard output"};
  return {};
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

Result<Ids> parse_ids(std::string_view text) {
  Ids ids;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    if (is_space(*at)) {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [rest, error] = std::from_chars(at, end, id);
    const char* const word_end = std::find_if(at, end, is_space);
    if (error != std::errc() || rest != word_end)
      return Error{Errc::invalid,
                   "\"" + std::string(at, std::min<std::size_t>(word_end - at, 40)) + "\" is not a token id"};
    ids.push_back(id);
    at = rest;
  }
  return ids;
}

std::string plain(const Ids& ids) {
  std::string line;
  for (const std::int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  return line;
}

Error at(const std::string& place, const Error& error) { return {error.code, place + ": " + error.what}; }

Result<std::string> json_line_text(const Json& line, const std::string& where) {
  if (line.is_string()) return line.get<std::string>();
  if (!line.is_object())
    return Error{Errc::invalid, where + ": must be {\"text\": \"...\"} or a JSON string"};
  return json_string(line, "text", where);
}

Result<Ids> json_line_ids(const Json& line, const std::string& where) {
  const Json* list = line.is_object() && line.contains("ids") ? &line["ids"] : &line;
  if (!list->is_array()) return Error{Errc::invalid, where + ": must be {\"ids\": [...]} or a JSON array"};
  Ids ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > INT32_MAX)
      return Error{Errc::invalid, where + ": " + id.dump() + " is not a token id"};
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

class Conversion {
 public:
  Conversion(const Tokenizer& tokenizer, const Options& options)
      : tokenizer_(tokenizer),
        decode_(options.has("decode")),
        add_special_(options.has("special")),
        skip_special_(options.has("skip-special")) {}

  // The line's output object: what came in first.
  Result<OrderedJson> json_line(const std::string& line, const std::string& where) const {
    DGQ_TRY(const Json value, parse_json(line, where));
    if (decode_) {
      DGQ_TRY(const Ids ids, json_line_ids(value, where));
      return decoded(ids, where);
    }
    DGQ_TRY(const std::string text, json_line_text(value, where));
    return encoded(text, where);
  }

  // The whole input: text, or ids separated by white space.
  Result<OrderedJson> whole(const std::string& input, const std::string& where) const {
    if (!decode_) return encoded(input, where);
    const Result<Ids> ids = parse_ids(input);
    if (!ids) return at(where, ids.error());
    return decoded(*ids, where);
  }

 private:
  Result<OrderedJson> encoded(const std::string& text, const std::string& where) const {
    const Result<Ids> ids = tokenizer_.encode(text, add_special_);
    if (!ids) return at(where, ids.error());
    return OrderedJson{{"text", text}, {"ids", *ids}};
  }
  Result<OrderedJson> decoded(const Ids& ids, const std::string& where) const {
    const Result<std::string> text = tokenizer_.decode(ids, skip_special_);
    if (!text) return at(where, text.error());
    return OrderedJson{{"ids", ids}, {"text", *text}};
  }

  const Tokenizer& tokenizer_;
  bool decode_, add_special_, skip_special_;
};

Result<void> convert_lines(const Conversion& conversion, Input& input) {
  std::string line;
  for (std::size_t number = 1; std::getline(input.stream(), line); ++number) {
    DGQ_TRY(const OrderedJson out,
            conversion.json_line(line, input.name + ", line " + std::to_string(number)));
    DGQ_CHECK(write_line(out.dump()));
  }
  if (input.stream().bad()) return Error{Errc::io, "cannot read " + input.name};
  return {};
}

Result<void> convert_whole(const Conversion& conversion, Input& input, const Options& options) {
  DGQ_TRY(const std::string text, read_all(input));
  DGQ_TRY(const OrderedJson out, conversion.whole(text, input.name));
  if (options.has("json")) return write_line(out.dump());
  return write_line(options.has("decode") ? out["text"].get<std::string>() : plain(out["ids"].get<Ids>()));
}

void describe(Options& options) {
  options.usage = "dgq tokenize (--model NAME[:TAG] | --tokenizer FILE) [options] [TEXT]";
  options.about =
      "Turns text into token ids, or ids into text with --decode. The input is TEXT, --file, or standard "
      "input, taken\n"
      "as one text with all its line ends.";
  options.examples =
      "  dgq tokenize --tokenizer models/demo/tokenizer.json \"Hello world\"\n"
      "  dgq tokenize --model demo --decode \"42 507 81 950\"\n"
      "  dgq tokenize --model demo --file book.txt | wc -w\n"
      "  printf '%s\\n' '{\"text\": \"one\"}' '\"two\"' | dgq tokenize --model demo --jsonl\n"
      "  printf '%s\\n' '{\"ids\": [42, 507]}' '[81, 950]' | dgq tokenize --model demo --jsonl --decode\n";
  options.named.add_options()  //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"),
       "tokenizer of a model in the registry")                                                      //
      ("tokenizer", po::value<std::string>()->value_name("FILE"), "a Hugging Face tokenizer.json")  //
      ("decode", "ids to text; ids are separated by white space")                                   //
      ("file", po::value<std::string>()->value_name("FILE"), "read the input from a file")          //
      ("jsonl",
       "one JSON line in, one out: {\"text\"} or a string gives {\"text\", \"ids\"}; with --decode {\"ids\"} "
       "or an "
       "array gives {\"ids\", \"text\"}")                                                   //
      ("json", "print one JSON object: {\"text\", \"ids\"}")                                //
      ("special", "encode: add what the model expects around a text, such as a BOS token")  //
      ("skip-special", "decode: leave special tokens out")                                  //
      ("text", po::value<std::string>()->value_name("TEXT"), "the input; the same as TEXT without a flag");
  options.positional.add("text", 1);
  add_registry_options(options);
}

Result<void> check_flags(const Options& options) {
  if (options.has("model") == options.has("tokenizer"))
    return Error{Errc::invalid,
                 "give either --model NAME[:TAG] or --tokenizer FILE (see dgq tokenize --help)"};
  if (options.has("json") && options.has("jsonl"))
    return Error{Errc::invalid, "give --json or --jsonl, not both"};
  if (options.has("special") && options.has("decode"))
    return Error{Errc::invalid,
                 "--special is for encoding; with --decode special tokens show unless --skip-special"};
  if (options.has("skip-special") && !options.has("decode"))
    return Error{Errc::invalid, "--skip-special needs --decode"};
  return {};
}

}  // namespace

Result<int> run_tokenize(const Arguments& arguments) {
  Options options;
  describe(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_CHECK(check_flags(options));
  DGQ_TRY(Input input, open_input(options));
  DGQ_TRY(const Tokenizer tokenizer, options.has("model")
                                         ? load_from_registry(options)
                                         : Tokenizer::read(options.get<std::string>("tokenizer")));
  const Conversion conversion(tokenizer, options);
  DGQ_CHECK(options.has("jsonl") ? convert_lines(conversion, input)
                                 : convert_whole(conversion, input, options));
  std::cout.flush();
  if (!std::cout) return Error{Errc::io, "cannot write to standard output"};
  return 0;
}

}  // namespace dgq::tools
