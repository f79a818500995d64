#include "runtime/tokenizer.h"

#include <algorithm>

#include "base/file.h"
#include "runtime/detokenizer.h"
#include "runtime/tokenizer_definition.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {

struct Tokenizer::State {
  TokenizerDefinition definition;
  AddedMatcher raw, normalized;  // added tokens looked for before and after normalization
  std::unordered_map<std::int32_t, const AddedToken*> added_by_id;
  std::unordered_map<std::string_view, std::int32_t> added_ids;
  std::size_t vocabulary_size = 0;

  Result<void> encode_plain(std::string_view text, bool at_start, Bpe::Scratch& scratch,
                            std::vector<std::int32_t>& ids) const;
};

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::parse(std::string_view tokenizer_json, std::string_view where) {
  DGQ_TRY(TokenizerDefinition definition, parse_tokenizer_definition(tokenizer_json, where));
  auto state = std::make_unique<State>();
  state->definition = std::move(definition);
  state->vocabulary_size = state->definition.bpe.vocabulary().size();
  std::vector<AddedMatcher::Entry> raw, normalized;
  for (const AddedToken& token : state->definition.added) {
    state->added_by_id.emplace(token.id, &token);
    state->added_ids.emplace(token.content, token.id);
    state->vocabulary_size = std::max(state->vocabulary_size, static_cast<std::size_t>(token.id) + 1);
    AddedMatcher::Entry entry{token.content, token.id, token.lstrip, token.rstrip};
    if (token.normalized) {
      DGQ_TRY(entry.content, normalize(state->definition.normalizer, token.content));
    }
    (token.normalized ? normalized : raw).push_back(std::move(entry));
  }
  state->raw = AddedMatcher(std::move(raw));
  state->normalized = AddedMatcher(std::move(normalized));
  return Tokenizer(std::move(state));
}

Result<Tokenizer> Tokenizer::read(const std::filesystem::path& tokenizer_json) {
  DGQ_TRY(const std::string text, read_file(tokenizer_json, kMaxTokenizerBytes));
  return parse(text, tokenizer_json.string());
}

Result<void> Tokenizer::State::encode_plain(std::string_view text, bool at_start, Bpe::Scratch& scratch,
                                            std::vector<std::int32_t>& ids) const {
  DGQ_TRY(const std::string clean, normalize(definition.normalizer, text));
  for (const AddedPart& part : normalized.split(clean)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const bool first = at_start && part.text.data() == clean.data();
    DGQ_TRY(const Words words, pretokenize(definition.pretokenizer, std::string(part.text), first));
    for (const auto [begin, end] : words.ranges)
      definition.bpe.encode(std::string_view(words.text).substr(begin, end - begin), scratch, ids);
  }
  return {};
}

Result<std::vector<std::int32_t>> Tokenizer::encode(std::string_view text, bool add_special) const {
  if (text.size() > kMaxTextBytes)
    return Error{Errc::invalid, "a text of " + std::to_string(text.size()) +
                                    " bytes is too long to tokenize at once (at most " +
                                    std::to_string(kMaxTextBytes) + ")"};
  if (const std::size_t at = find_invalid_utf8(text); at != std::string_view::npos)
    return Error{Errc::invalid, "the text is not UTF-8 (byte " + std::to_string(at) + ")"};
  std::vector<std::int32_t> ids;
  Bpe::Scratch scratch;
  for (const AddedPart& part : state_->raw.split(text)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      DGQ_CHECK(state_->encode_plain(part.text, part.text.data() == text.data(), scratch, ids));
    }
  }
  if (add_special) {
    for (const SpecialFrame& frame : state_->definition.frames) {
      ids.insert(ids.begin(), frame.before.begin(), frame.before.end());
      ids.insert(ids.end(), frame.after.begin(), frame.after.end());
    }
  }
  return ids;
}

Result<std::string> Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  Detokenizer stream(*this, skip_special);
  std::string text;
  for (const std::int32_t id : ids) {
    if (!contains(id))
      return Error{Errc::invalid, "no token has the id " + std::to_string(id) + " (ids are below " +
                                      std::to_string(vocabulary_size()) + ")"};
    text += stream.push(id);
  }
  return text += stream.finish();
}

std::size_t Tokenizer::vocabulary_size() const { return state_->vocabulary_size; }

std::optional<std::int32_t> Tokenizer::find(std::string_view token) const {
  if (const auto added = state_->added_ids.find(token); added != state_->added_ids.end())
    return added->second;
  const std::int32_t id = state_->definition.bpe.vocabulary().find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

bool Tokenizer::contains(std::int32_t id) const {
  return state_->definition.bpe.vocabulary().contains(id) || state_->added_by_id.contains(id);
}

std::string_view Tokenizer::token(std::int32_t id) const {
  if (const auto added = state_->added_by_id.find(id); added != state_->added_by_id.end())
    return added->second->content;
  const Vocabulary& vocabulary = state_->definition.bpe.vocabulary();
  return vocabulary.contains(id) ? vocabulary.token(id) : std::string_view();
}

bool Tokenizer::is_special(std::int32_t id) const {
  const auto added = state_->added_by_id.find(id);
  return added != state_->added_by_id.end() && added->second->special;
}

const std::vector<DecodeStep>& Tokenizer::decode_steps() const { return state_->definition.decoder; }

}  // namespace dgq
