#include "quantizer/gguf_tokenizer_output.h"

#include <algorithm>
#include <unordered_map>

#include "quantizer/gguf_pre_tokenizer.h"
#include "runtime/tokenizer.h"

namespace dgq {
namespace {

Error unsupported(const std::string& where, const std::string& what) {
  return {Errc::unsupported, where + ": a GGUF file cannot say what this tokenizer does: " + what};
}

Json member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? Json() : *found;
}

// What changes no ids is left out, what is left out is said.
Json comparable(const Json& step) {
  if (!step.is_object()) return step;
  Json out = step;
  out.erase("trim_offsets");
  if (step.value("type", "") == "ByteLevel") {
    out["add_prefix_space"] = step.value("add_prefix_space", true);
    out["use_regex"] = step.value("use_regex", true);
  }
  for (const char* list : {"pretokenizers", "normalizers"})
    if (out.contains(list))
      for (Json& inner : out[list]) inner = comparable(inner);
  return out;
}

// Of a tokenizer.json that Tokenizer::parse has accepted.
struct Source {
  const Json& json;
  const Tokenizer& tokenizer;
  const ModelConfig& config;
  const std::string& where;

  const Json& model() const { return json.at("model"); }
  bool is_sentence_piece() const { return model().value("byte_fallback", false); }
};

struct Tokens {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
};

bool is_byte(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>');
}

Result<Tokens> list_tokens(const Source& source) {
  using namespace token_type;
  const std::size_t count = source.config.vocab;
  if (source.tokenizer.vocabulary_size() > count)
    return unsupported(source.where, "it has more tokens than the embedding has rows");
  Tokens tokens;
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const bool there = source.tokenizer.contains(id);
    tokens.texts.push_back(there ? std::string(source.tokenizer.token(id))
                                 : "[PAD" + std::to_string(i) + "]");
    const bool byte_token = source.is_sentence_piece() && is_byte(tokens.texts.back());
    tokens.types.push_back(!there ? unused : byte_token ? byte : normal);
  }
  for (const Json& added : member(source.json, "added_tokens"))
    tokens.types[added.at("id").get<std::size_t>()] = added.value("special", false) ? control : user_defined;
  if (const Json unk = member(source.model(), "unk_token"); unk.is_string())
    if (const auto id = source.tokenizer.find(unk.get<std::string>()))
      tokens.types[static_cast<std::size_t>(*id)] = unknown;
  return tokens;
}

// Left and right of each merge, best first.
std::vector<std::pair<std::string, std::string>> merges_of(const Json& model) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (const Json& merge : model.at("merges")) {
    if (merge.is_array()) {
      merges.emplace_back(merge[0], merge[1]);
      continue;
    }
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ', 1);
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

Result<void> add_byte_level(GgufMetadata& to, const Source& source) {
  const Json normalizer = member(source.json, "normalizer");
  const bool nfc = normalizer == Json{{"type", "NFC"}};
  if (!normalizer.is_null() && !nfc) return unsupported(source.where, "its normalizer");
  const Json steps = comparable(member(source.json, "pre_tokenizer"));
  const bool ignore_merges = source.model().value("ignore_merges", false);
  const auto known =
      std::find_if(pre_tokenizers().begin(), pre_tokenizers().end(), [&](const PreTokenizer& pre) {
        return comparable(pre.pre_tokenizer()) == steps && pre.nfc == nfc &&
               pre.ignore_merges == ignore_merges;
      });
  if (known == pre_tokenizers().end()) return unsupported(source.where, "its pre-tokenizer");
  std::vector<std::string> merges;
  for (const auto& [left, right] : merges_of(source.model())) merges.push_back(left + " " + right);
  to.add("tokenizer.ggml.model", "gpt2");
  to.add("tokenizer.ggml.pre", known->names.front());
  to.add("tokenizer.ggml.merges", merges);
  return {};
}

// SentencePiece merges the two neighbours whose whole has the highest score: minus the rank of the first merge that makes it.
std::vector<float> scores_of(const Source& source, const Tokens& tokens) {
  constexpr float kNever = -1e9F;
  std::unordered_map<std::string_view, std::size_t> ids;
  std::vector<float> scores;
  for (std::size_t i = 0; i < tokens.texts.size(); ++i) {
    ids.emplace(tokens.texts[i], i);
    scores.push_back(tokens.types[i] == token_type::normal ? kNever : 0);
  }
  float rank = 0;
  for (const auto& [left, right] : merges_of(source.model())) {
    const auto whole = ids.find(left + right);
    if (whole != ids.end() && scores[whole->second] == kNever) scores[whole->second] = -rank;
    ++rank;
  }
  return scores;
}

Result<void> add_sentence_piece(GgufMetadata& to, const Source& source, const Tokens& tokens) {
  const Json normalizer = comparable(member(source.json, "normalizer"));
  const bool prefix = normalizer == space_marks(true);
  if (!prefix && normalizer != space_marks(false)) return unsupported(source.where, "its normalizer");
  if (!member(source.json, "pre_tokenizer").is_null()) return unsupported(source.where, "its pre-tokenizer");
  to.add("tokenizer.ggml.model", "llama");
  to.add("tokenizer.ggml.pre", "default");
  to.add("tokenizer.ggml.scores", scores_of(source, tokens));
  to.add("tokenizer.ggml.add_space_prefix", prefix);
  const auto unknown = std::find(tokens.types.begin(), tokens.types.end(), token_type::unknown);
  if (unknown != tokens.types.end())
    to.add("tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(unknown - tokens.types.begin()));
  return {};
}

// What the tokenizer puts around a text: nothing, one token before, one behind.
Result<void> add_special_tokens(GgufMetadata& to, const Source& source) {
  DGQ_TRY(const auto plain, source.tokenizer.encode("a", false));
  DGQ_TRY(const auto framed, source.tokenizer.encode("a", true));
  const auto text = std::search(framed.begin(), framed.end(), plain.begin(), plain.end());
  const auto before = text - framed.begin(), behind = framed.end() - text - std::ssize(plain);
  std::int32_t bos = source.config.bos;
  const std::int32_t eos = source.config.eos.empty() ? -1 : source.config.eos.front();
  if (before == 1) bos = framed.front();
  if (before > 1 || behind > 1 || behind < 0 || (behind == 1 && framed.back() != eos))
    return unsupported(source.where, "the special tokens around a text");
  const auto add_id = [&](const char* key, std::int32_t id) {
    if (id >= 0) to.add(key, static_cast<std::uint32_t>(id));
  };
  add_id("tokenizer.ggml.bos_token_id", bos);
  add_id("tokenizer.ggml.eos_token_id", eos);
  if (source.config.eos.size() > 1) add_id("tokenizer.ggml.eot_token_id", source.config.eos[1]);
  to.add("tokenizer.ggml.add_bos_token", before == 1);
  to.add("tokenizer.ggml.add_eos_token", behind == 1);
  return {};
}

}  // namespace

Result<void> add_tokenizer(GgufMetadata& to, const ModelConfig& config, std::string_view tokenizer_json,
                           const std::string& where) {
  DGQ_TRY(const Tokenizer tokenizer, Tokenizer::parse(tokenizer_json, where));
  DGQ_TRY(const Json json, parse_json(tokenizer_json, where));
  const Source source{json, tokenizer, config, where};
  DGQ_TRY(const Tokens tokens, list_tokens(source));
  DGQ_CHECK(source.is_sentence_piece() ? add_sentence_piece(to, source, tokens) : add_byte_level(to, source));
  to.add("tokenizer.ggml.tokens", tokens.texts);
  to.add("tokenizer.ggml.token_type", tokens.types);
  return add_special_tokens(to, source);
}

}  // namespace dgq
