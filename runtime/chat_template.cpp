#include "runtime/chat_template.h"

namespace dgq {

std::string ChatTemplateSource::blob() const {
  return Json{{"bos_token", bos}, {"chat_template", text}, {"eos_token", eos}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

Result<ChatTemplateSource> ChatTemplateSource::parse(std::string_view blob, std::string_view where) {
  DGQ_TRY(const Json json, parse_json(blob, where));
  ChatTemplateSource source;
  DGQ_TRY(source.text, json_string(json, "chat_template", where));
  DGQ_TRY(source.bos, json_string(json, "bos_token", where));
  DGQ_TRY(source.eos, json_string(json, "eos_token", where));
  return source;
}

Result<ChatTemplate> ChatTemplate::make(ChatTemplateSource source) {
  auto parsed = JinjaTemplate::parse(source.text);
  if (!parsed) return Error{parsed.error().code, "the chat template, " + parsed.error().what};
  return ChatTemplate(std::move(source), std::move(*parsed));
}

Result<std::vector<std::int32_t>> ChatTemplate::encode(const OrderedJson& variables,
                                                       const Tokenizer& tokenizer,
                                                       std::int64_t now_unix_s) const {
  const auto rendered =
      template_.render(variables, {{"bos_token", source_.bos}, {"eos_token", source_.eos}}, now_unix_s);
  if (!rendered) return Error{rendered.error().code, "the chat template, " + rendered.error().what};
  return tokenizer.encode_marked(rendered->text, rendered->from_data);
}

}  // namespace dgq
