#include "agent/models.h"

namespace dgq::agent {
namespace {

Result<ChatTemplateSource> chat_source(const ServedModel& model, std::string_view blob,
                                       std::string_view text) {
  if (text.empty()) return ChatTemplateSource::parse(blob, model.name + ", blob " + kChatTemplateBlob);
  const ModelConfig& config = *model.config;
  const auto token = [&](std::int32_t id) { return std::string(model.tokenizer.token(id)); };
  return ChatTemplateSource{std::string(text), token(config.bos),
                            config.eos.empty() ? "" : token(config.eos.front())};
}

}  // namespace

void add_formats(ServedModel& model, std::string_view blob, std::string_view text) {
  auto trie = TokenTrie::make(model.tokenizer);
  if (trie) {
    model.trie = std::make_shared<const TokenTrie>(std::move(*trie));
  } else {
    model.no_trie = trie.error().what;
  }
  if (blob.empty() && text.empty()) {
    model.no_chat =
        "model '" + model.name +
        "' has no chat template: quantize a checkpoint that has one in tokenizer_config.json, give the agent "
        "--chat-template FILE, or use /v1/completions with the template applied";
    return;
  }
  const auto source = chat_source(model, blob, text);
  auto chat = source ? ChatTemplate::make(*source) : Result<ChatTemplate>(source.error());
  if (chat) {
    model.chat = std::make_shared<const ChatTemplate>(std::move(*chat));
  } else {
    model.no_chat = "model '" + model.name + "' cannot chat: " + chat.error().what;
  }
}

}  // namespace dgq::agent
