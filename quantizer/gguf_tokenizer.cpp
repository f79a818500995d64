#include "quantizer/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "quantizer/gguf_pre_tokenizer.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

using namespace token_type;

constexpr std::size_t kMaxPiece = 1024;  // bytes of a SentencePiece token; the longest in use have 48

struct Token {
  std::string_view text;  // into the metadata
  std::int64_t id, type;
};

Error corrupt(const std::string& where, const std::string& what) {
  return {Errc::corrupt, where + ": " + what};
}

// An array of the metadata, or an Error.
Result<const Json*> list(const Json& metadata, const char* key, const std::string& where) {
  const auto found = metadata.find(key);
  if (found == metadata.end() || !found->is_array())
    return corrupt(where, "\"" + std::string(key) + "\" must be an array");
  return &*found;
}

Result<std::vector<Token>> read_tokens(const Json& metadata, const std::string& where) {
  DGQ_TRY(const Json* texts, list(metadata, "tokenizer.ggml.tokens", where));
  DGQ_TRY(const Json* types, list(metadata, "tokenizer.ggml.token_type", where));
  if (types->size() != texts->size())
    return corrupt(where, "\"tokenizer.ggml.token_type\" has " + std::to_string(types->size()) +
                              " elements for " + std::to_string(texts->size()) + " tokens");
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < texts->size(); ++i) {
    const Json &text = (*texts)[i], &type = (*types)[i];
    if (!text.is_string() || !type.is_number_integer() || type < std::int64_t{normal} ||
        type > std::int64_t{byte})
      return corrupt(where, "token " + std::to_string(i) + " must be a string, of type 1 to 6");
    tokens.push_back(
        {text.get_ref<const std::string&>(), static_cast<std::int64_t>(i), type.get<std::int64_t>()});
  }
  return tokens;
}

// "added_tokens": what is found in a text as a whole. Unused tokens, which pad the vocabulary to the embedding's rows, are
// in no tokenizer.json.
Json added_tokens(const std::vector<Token>& tokens) {
  Json added = Json::array();
  for (const Token& token : tokens)
    if (token.type == control || token.type == unknown || token.type == user_defined)
      added.push_back({{"id", token.id},
                       {"content", token.text},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", token.type != user_defined}});
  return added;
}

Result<Json> vocabulary(const std::vector<Token>& tokens, const std::string& where) {
  Json vocab = Json::object();
  for (const Token& token : tokens)
    if (token.type != unused && !vocab.emplace(token.text, token.id).second)
      return corrupt(where, "token " + in_quotes(token.text) + " stands there twice");
  return vocab;
}

// What stands before and after a text: BOS and EOS where the flags ask for them.
Result<Json> post_processor(const Json& metadata, bool add_bos_default, const std::vector<Token>& tokens,
                            const std::string& where) {
  Json single = Json::array(), special = Json::object();
  const auto add = [&](const char* key) -> Result<void> {
    DGQ_TRY(const std::int64_t id,
            json_int(metadata, key, 0, static_cast<std::int64_t>(tokens.size()) - 1, where));
    const std::string name(tokens[static_cast<std::size_t>(id)].text);
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    return {};
  };
  DGQ_TRY(const bool add_bos, json_bool_or(metadata, "tokenizer.ggml.add_bos_token", add_bos_default, where));
  DGQ_TRY(const bool add_eos, json_bool_or(metadata, "tokenizer.ggml.add_eos_token", false, where));
  if (add_bos) DGQ_CHECK(add("tokenizer.ggml.bos_token_id"));
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (add_eos) DGQ_CHECK(add("tokenizer.ggml.eos_token_id"));
  if (single.size() == 1) return Json();
  return Json{{"type", "TemplateProcessing"},
              {"single", single},
              {"pair", Json::array()},
              {"special_tokens", special}};
}

Result<const PreTokenizer*> find_pre_tokenizer(const Json& metadata, const std::string& where) {
  DGQ_TRY(const std::string name, json_string(metadata, "tokenizer.ggml.pre", where));
  std::string all;
  for (const PreTokenizer& known : pre_tokenizers()) {
    if (std::find(known.names.begin(), known.names.end(), name) != known.names.end()) return &known;
    all += (all.empty() ? "" : ", ") + std::string(known.names.front());
  }
  return Error{Errc::unsupported, where + ": pre-tokenizer " + in_quotes(name) + " is not supported (" + all +
                                      " are); give the model's tokenizer.json with --tokenizer"};
}

// "a b" into ["a", "b"].
Result<Json> read_merges(const Json& metadata, const std::string& where) {
  DGQ_TRY(const Json* texts, list(metadata, "tokenizer.ggml.merges", where));
  Json merges = Json::array();
  for (const Json& merge : *texts) {
    const std::string_view text =
        merge.is_string() ? merge.get_ref<const std::string&>() : std::string_view();
    const std::size_t space = text.find(' ', 1);
    if (text.empty() || space == std::string_view::npos)
      return corrupt(where, "merge " + std::to_string(merges.size()) + " is not \"a b\"");
    merges.push_back(Json::array({text.substr(0, space), text.substr(space + 1)}));
  }
  return merges;
}

Result<Json> byte_level_tokenizer(const Json& metadata, const std::vector<Token>& tokens,
                                  const std::string& where) {
  DGQ_TRY(const PreTokenizer* pre, find_pre_tokenizer(metadata, where));
  DGQ_TRY(Json vocab, vocabulary(tokens, where));
  DGQ_TRY(Json merges, read_merges(metadata, where));
  DGQ_TRY(Json post, post_processor(metadata, pre->add_bos, tokens, where));
  return Json{{"normalizer", pre->nfc ? Json{{"type", "NFC"}} : Json()},
              {"pre_tokenizer", pre->pre_tokenizer()},
              {"post_processor", std::move(post)},
              {"decoder", byte_level(true)},
              {"model",
               {{"type", "BPE"},
                {"ignore_merges", pre->ignore_merges},
                {"vocab", std::move(vocab)},
                {"merges", std::move(merges)}}}};
}

// SentencePiece merges whatever two neighbours make the token with the highest score; BPE wants a list of pairs, best first.
// So every way to cut a token into two tokens is a pair, ranked by the score of the whole; among equal scores the order is
// that of the ids of whole, left and right, as in the tokenizer.json files of Llama 2.
struct Merge {
  double score;
  std::int64_t whole, left, right;  // ids
};

Result<std::vector<double>> read_scores(const Json& metadata, std::size_t count, const std::string& where) {
  DGQ_TRY(const Json* list_of_scores, list(metadata, "tokenizer.ggml.scores", where));
  std::vector<double> scores;
  for (const Json& score : *list_of_scores) {
    if (!score.is_number() || !(std::abs(score.get<double>()) <= 1e30))
      return corrupt(where, "score " + std::to_string(scores.size()) + " is not a finite number");
    scores.push_back(score.get<double>());
  }
  if (scores.size() != count)
    return corrupt(where, "\"tokenizer.ggml.scores\" has " + std::to_string(scores.size()) +
                              " elements for " + std::to_string(count) + " tokens");
  return scores;
}

// Where characters start, but for the first.
std::vector<std::size_t> inner_character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < text.size(); at += utf8_length(text.substr(at)))
    if (at > 0) starts.push_back(at);
  return starts;
}

Result<Json> merges_of_scores(const std::vector<Token>& tokens, const std::vector<double>& scores,
                              const std::string& where) {
  std::unordered_map<std::string_view, std::int64_t> ids;
  for (const Token& token : tokens)
    if (token.type == normal) ids.emplace(token.text, token.id);
  std::vector<Merge> merges;
  for (const Token& token : tokens) {
    if (token.type != normal) continue;
    if (token.text.size() > kMaxPiece)
      return corrupt(where, "token " + in_quotes(token.text) + " has " + std::to_string(token.text.size()) +
                                " bytes, more than " + std::to_string(kMaxPiece));
    for (const std::size_t cut : inner_character_starts(token.text)) {
      const auto left = ids.find(token.text.substr(0, cut)), right = ids.find(token.text.substr(cut));
      if (left != ids.end() && right != ids.end())
        merges.push_back({scores[static_cast<std::size_t>(token.id)], token.id, left->second, right->second});
    }
  }
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tuple(-a.score, a.whole, a.left, a.right) < std::tuple(-b.score, b.whole, b.left, b.right);
  });
  Json pairs = Json::array();
  for (const Merge& merge : merges)
    pairs.push_back(Json::array({tokens[static_cast<std::size_t>(merge.left)].text,
                                 tokens[static_cast<std::size_t>(merge.right)].text}));
  return pairs;
}

Result<Json> sentence_piece_tokenizer(const Json& metadata, const std::vector<Token>& tokens,
                                      const std::string& where) {
  DGQ_TRY(const std::vector<double> scores, read_scores(metadata, tokens.size(), where));
  DGQ_TRY(Json vocab, vocabulary(tokens, where));
  DGQ_TRY(Json merges, merges_of_scores(tokens, scores, where));
  DGQ_TRY(Json post, post_processor(metadata, true, tokens, where));
  DGQ_TRY(const bool prefix, json_bool_or(metadata, "tokenizer.ggml.add_space_prefix", true, where));
  Json decoders = Json::array({replace(kSpaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  const auto unk =
      std::find_if(tokens.begin(), tokens.end(), [](const Token& t) { return t.type == unknown; });
  return Json{{"normalizer", space_marks(prefix)},
              {"pre_tokenizer", nullptr},
              {"post_processor", std::move(post)},
              {"decoder", sequence("decoders", std::move(decoders))},
              {"model",
               {{"type", "BPE"},
                {"unk_token", unk == tokens.end() ? Json() : Json(unk->text)},
                {"fuse_unk", true},
                {"byte_fallback", true},
                {"vocab", std::move(vocab)},
                {"merges", std::move(merges)}}}};
}

}  // namespace

Result<std::string> tokenizer_from_gguf(const Json& metadata, const std::string& where) {
  DGQ_TRY(const std::string model, json_string(metadata, "tokenizer.ggml.model", where));
  if (model != "gpt2" && model != "llama")
    return Error{
        Errc::unsupported,
        where + ": tokenizer model " + in_quotes(model) +
            " is not supported (gpt2 and llama are); give the model's tokenizer.json with --tokenizer"};
  DGQ_TRY(const std::vector<Token> tokens, read_tokens(metadata, where));
  DGQ_TRY(Json json, model == "gpt2" ? byte_level_tokenizer(metadata, tokens, where)
                                     : sentence_piece_tokenizer(metadata, tokens, where));
  json["version"] = "1.0";
  json["added_tokens"] = added_tokens(tokens);
  return json.dump();
}

}  // namespace dgq
