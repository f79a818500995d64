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
                            std::vector<std::int32_t>& ids, bool find_added = true) const;
  Result<bool> data_spells_added(std::string_view text, std::string_view marks) const;
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
                                            std::vector<std::int32_t>& ids, bool find_added) const {
  DGQ_TRY(const std::string clean, normalize(definition.normalizer, text));
  for (const AddedPart& part : find_added ? normalized.split(clean) : std::vector<AddedPart>{{clean, -1}}) {
    if (part.text.empty()) continue;
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

namespace {

Result<void> check_text(std::string_view text) {
  if (text.size() > kMaxTextBytes)
    return Error{Errc::invalid, "a text of " + std::to_string(text.size()) +
                                    " bytes is too long to tokenize at once (at most " +
                                    std::to_string(kMaxTextBytes) + ")"};
  if (const std::size_t at = find_invalid_utf8(text); at != std::string_view::npos)
    return Error{Errc::invalid, "the text is not UTF-8 (byte " + std::to_string(at) + ")"};
  return {};
}

// Calls run(text, is data) for each stretch of equal marks.
template <class Run>
Result<void> each_run(std::string_view text, std::string_view marks, const Run& run) {
  for (std::size_t at = 0, end; at < text.size(); at = end) {
    const bool data = marks[at] != 0;
    end = std::min(data ? marks.find('\0', at) : marks.find_first_not_of('\0', at), text.size());
    DGQ_CHECK(run(text.substr(at, end - at), data));
  }
  return {};
}

}  // namespace

Result<std::vector<std::int32_t>> Tokenizer::encode(std::string_view text, bool add_special) const {
  DGQ_CHECK(check_text(text));
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

// Whether the added tokens that are looked for after normalization are others than those of the unmarked stretches.
Result<bool> Tokenizer::State::data_spells_added(std::string_view text, std::string_view marks) const {
  if (normalized.empty()) return false;
  std::vector<std::int32_t> all, own;
  const auto note = [&](std::string_view part, std::vector<std::int32_t>& ids) -> Result<void> {
    DGQ_TRY(const std::string clean, normalize(definition.normalizer, part));
    for (const AddedPart& found : normalized.split(clean))
      if (found.id >= 0) ids.push_back(found.id);
    return {};
  };
  DGQ_CHECK(note(text, all));
  DGQ_CHECK(each_run(
      text, marks, [&](std::string_view run, bool data) { return data ? Result<void>{} : note(run, own); }));
  return all != own;
}

// Stretches that are data and others are cut into words together, as a text without marks is, unless data would become
// an added token by that.
Result<std::vector<std::int32_t>> Tokenizer::encode_marked(std::string_view text,
                                                           std::string_view marks) const {
  DGQ_CHECK(check_text(text));
  std::vector<std::int32_t> ids;
  Bpe::Scratch scratch;
  for (const AddedPart& part : state_->raw.split(text, marks)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const auto offset = static_cast<std::size_t>(part.text.data() - text.data());
    const std::string_view part_marks = marks.substr(offset, part.text.size());
    DGQ_TRY(const bool apart, state_->data_spells_added(part.text, part_marks));
    if (!apart) {
      DGQ_CHECK(state_->encode_plain(part.text, offset == 0, scratch, ids));
      continue;
    }
    DGQ_CHECK(each_run(part.text, part_marks, [&](std::string_view run, bool data) {
      return state_->encode_plain(run, run.data() == text.data(), scratch, ids, !data);
    }));
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
