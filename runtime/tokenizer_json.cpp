#include "runtime/tokenizer_json.h"

#include <unordered_set>

#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace tokenizer_json {

const Json* find_member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Error corrupt(std::string_view where, std::string_view what) {
  return {Errc::corrupt, std::string(where) + ": " + std::string(what)};
}
Error unsupported(std::string_view where, std::string_view what) {
  return {Errc::unsupported, std::string(where) + ": unsupported tokenizer: " + std::string(what)};
}

namespace {

Result<Vocabulary> parse_vocabulary(const Json& model, std::string_view where) {
  const Json* vocab = find_member(model, "vocab");
  if (!vocab || !vocab->is_object() || vocab->empty())
    return corrupt(where, "\"model\" has no \"vocab\" object of tokens and ids");
  std::vector<std::pair<std::string_view, std::int64_t>> tokens;
  tokens.reserve(vocab->size());
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_integer())
      return corrupt(where, "the id of token " + in_quotes(token) + " is not an integer");
    // An unsigned number past int64 becomes negative here, which no id may be.
    tokens.emplace_back(token, id.get<std::int64_t>());
  }
  return Vocabulary::make(tokens, where);
}

// "a b" (older files) or ["a", "b"]. Views into the JSON.
Result<TokenPair> parse_merge(const Json& merge, std::size_t rank, std::string_view where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return TokenPair(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos)
      return TokenPair(text.substr(0, space), text.substr(space + 1));
  }
  return corrupt(where, "merge " + std::to_string(rank) + " is neither \"a b\" nor [\"a\", \"b\"]");
}

Result<std::vector<TokenPair>> parse_merges(const Json& model, std::string_view where) {
  const Json* merges = find_member(model, "merges");
  if (!merges || !merges->is_array()) return corrupt(where, "\"model\" has no \"merges\" array");
  std::vector<TokenPair> pairs;
  pairs.reserve(merges->size());
  for (const Json& merge : *merges) {
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version"))
      continue;  // a merges.txt line
    DGQ_TRY(const TokenPair pair, parse_merge(merge, pairs.size(), where));
    pairs.push_back(pair);
  }
  return pairs;
}

Result<Bpe> parse_model(const Json& root, std::string_view where) {
  const Json* model = find_member(root, "model");
  if (!model || !model->is_object()) return corrupt(where, "no \"model\" object; is this a tokenizer.json?");
  // Early files of GPT-2 have no "type"; vocab and merges together are BPE.
  DGQ_TRY(const std::string type, json_string_or(*model, "type", "BPE", where));
  if (type != "BPE") return unsupported(where, "model " + in_quotes(type) + " (only BPE)");
  DGQ_TRY(const double dropout, json_number_or(*model, "dropout", 0, where));
  if (dropout != 0) return unsupported(where, "dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    DGQ_TRY(const std::string affix, json_string_or(*model, key, "", where));
    if (!affix.empty()) return unsupported(where, key);
  }
  BpeOptions options;
  DGQ_TRY(options.byte_fallback, json_bool_or(*model, "byte_fallback", false, where));
  DGQ_TRY(options.fuse_unk, json_bool_or(*model, "fuse_unk", false, where));
  DGQ_TRY(options.ignore_merges, json_bool_or(*model, "ignore_merges", false, where));
  if (find_member(*model, "unk_token")) {
    DGQ_TRY(options.unk_token, json_string(*model, "unk_token", where));
  }
  DGQ_TRY(Vocabulary vocabulary, parse_vocabulary(*model, where));
  DGQ_TRY(const auto merges, parse_merges(*model, where));
  return Bpe::make(std::move(vocabulary), merges, options, where);
}

Result<AddedToken> parse_added_token(const Json& value, std::string_view where) {
  if (!value.is_object()) return corrupt(where, "an entry of \"added_tokens\" is not an object");
  AddedToken token;
  DGQ_TRY(token.content, json_string(value, "content", where));
  if (token.content.empty()) return corrupt(where, "an added token has no content");
  const std::string at = std::string(where) + ": added token " + in_quotes(token.content);
  DGQ_TRY(const std::int64_t id, json_int(value, "id", 0, kMaxTokens - 1, at));
  token.id = static_cast<std::int32_t>(id);
  DGQ_TRY(token.special, json_bool_or(value, "special", false, at));
  DGQ_TRY(token.normalized, json_bool_or(value, "normalized", !token.special, at));
  DGQ_TRY(token.lstrip, json_bool_or(value, "lstrip", false, at));
  DGQ_TRY(token.rstrip, json_bool_or(value, "rstrip", false, at));
  DGQ_TRY(const bool single_word, json_bool_or(value, "single_word", false, at));
  if (single_word) return unsupported(at, "single_word");
  return token;
}

Result<std::vector<AddedToken>> parse_added_tokens(const Json& root, const Vocabulary& vocabulary,
                                                   std::string_view where) {
  std::vector<AddedToken> tokens;
  const Json* list = find_member(root, "added_tokens");
  if (!list) return tokens;
  if (!list->is_array()) return corrupt(where, "\"added_tokens\" is not an array");
  std::unordered_set<std::string> contents;
  std::unordered_set<std::int32_t> ids;
  for (const Json& value : *list) {
    DGQ_TRY(AddedToken token, parse_added_token(value, where));
    if (!contents.insert(token.content).second || !ids.insert(token.id).second)
      return corrupt(where, "added token " + in_quotes(token.content) + " or its id " +
                                std::to_string(token.id) + " stands there twice");
    const bool taken = vocabulary.contains(token.id) && vocabulary.token(token.id) != token.content;
    const std::int32_t known = vocabulary.find(token.content);
    if (taken || (known >= 0 && known != token.id))
      return corrupt(where, "added token " + in_quotes(token.content) + " with id " +
                                std::to_string(token.id) + " contradicts the vocabulary");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<void> check_frames(const TokenizerDefinition& definition, std::string_view where) {
  std::unordered_set<std::int32_t> added;
  for (const AddedToken& token : definition.added) added.insert(token.id);
  for (const SpecialFrame& frame : definition.frames)
    for (const auto* ids : {&frame.before, &frame.after})
      for (const std::int32_t id : *ids)
        if (!added.contains(id) && !definition.bpe.vocabulary().contains(id))
          return corrupt(where,
                         "\"post_processor\" adds the id " + std::to_string(id) + ", which no token has");
  return {};
}

}  // namespace
}  // namespace tokenizer_json

Result<TokenizerDefinition> parse_tokenizer_definition(std::string_view text, std::string_view where) {
  using namespace tokenizer_json;
  DGQ_TRY(const Json root, parse_json(text, where));
  if (!root.is_object()) return corrupt(where, "not a JSON object");
  for (const char* key : {"truncation", "padding"})
    if (find_member(root, key)) return unsupported(where, std::string(key) + " (set it to null)");
  TokenizerDefinition definition;
  DGQ_TRY(definition.bpe, parse_model(root, where));
  DGQ_TRY(definition.added, parse_added_tokens(root, definition.bpe.vocabulary(), where));
  DGQ_CHECK(parse_normalizer(find_member(root, "normalizer"), where, definition.normalizer));
  DGQ_CHECK(parse_pretokenizer(find_member(root, "pre_tokenizer"), where, definition.pretokenizer));
  DGQ_CHECK(parse_post_processor(find_member(root, "post_processor"), where, definition.frames));
  DGQ_CHECK(check_frames(definition, where));
  DGQ_TRY(definition.decoder, parse_decoder(find_member(root, "decoder"), where));
  return definition;
}

}  // namespace dgq
