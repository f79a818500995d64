#include "quantizer/chat_source.h"

#include "runtime/chat_template.h"
#include "runtime/tokenizer.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxConfigBytes = 64u << 20;  // some name every added token

// "chat_template": the text, or of a list of {"name", "template"} the one called default.
Result<std::string> template_of(const Json& config, const std::string& where) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const Json& one : *found)
      if (one.is_object() && one.value("name", Json()) == "default")
        return json_string(one, "template", where);
  if (found->is_array()) return std::string();
  return Error{Errc::corrupt, where + ": \"chat_template\" must be a text or a list of named ones"};
}

// A token is a text, or an object with its "content".
std::string token_of(const Json& config, const char* name) {
  auto found = config.find(name);
  if (found == config.end()) return {};
  const Json& token = found->is_object() ? found->value("content", Json()) : *found;
  return token.is_string() ? token.get<std::string>() : std::string();
}

Result<std::string> token_text(const Container& from, std::int32_t id) {
  if (id < 0) return std::string();
  DGQ_TRY(const Tokenizer tokenizer, Tokenizer::parse(from.tokenizer_json, from.tokenizer_where));
  return std::string(tokenizer.token(id));
}

}  // namespace

Result<void> read_folder_chat(Container& out) {
  const std::filesystem::path config_path = out.path / "tokenizer_config.json",
                              file = out.path / "chat_template.jinja";
  std::error_code ignored;
  Json config = Json::object();
  if (std::filesystem::exists(config_path, ignored)) {
    DGQ_TRY(const std::string text, read_text(out, config_path, kMaxConfigBytes));
    DGQ_TRY(config, parse_json(text, config_path.string()));
    if (!config.is_object()) return Error{Errc::corrupt, config_path.string() + ": must be a JSON object"};
  }
  ChatTemplateSource source;
  if (std::filesystem::exists(file, ignored)) {
    DGQ_TRY(source.text, read_text(out, file, kMaxTemplateBytes));
  } else {
    DGQ_TRY(source.text, template_of(config, config_path.string()));
  }
  if (source.text.empty()) return {};
  source.bos = token_of(config, "bos_token"), source.eos = token_of(config, "eos_token");
  if (source.bos.empty()) {
    DGQ_TRY(source.bos, token_text(out, out.config.bos));
  }
  if (source.eos.empty()) {
    DGQ_TRY(source.eos, token_text(out, out.config.eos.empty() ? -1 : out.config.eos.front()));
  }
  out.chat_template = source.blob();
  return {};
}

Result<void> read_gguf_chat(const Json& metadata, Container& out) {
  const auto found = metadata.find("tokenizer.chat_template");
  if (found == metadata.end()) return {};
  if (!found->is_string())
    return Error{Errc::corrupt, out.path.string() + ": \"tokenizer.chat_template\" must be a text"};
  const auto tokens = metadata.find("tokenizer.ggml.tokens");
  const auto token = [&](const char* key) -> std::string {
    const auto id = metadata.find(key);
    if (id == metadata.end() || !id->is_number_unsigned() || tokens == metadata.end() || !tokens->is_array())
      return {};
    const auto index = id->get<std::uint64_t>();
    return index < tokens->size() && (*tokens)[index].is_string() ? (*tokens)[index].get<std::string>()
                                                                  : std::string();
  };
  ChatTemplateSource source{found->get<std::string>(), token("tokenizer.ggml.bos_token_id"),
                            token("tokenizer.ggml.eos_token_id")};
  if (!source.text.empty()) out.chat_template = source.blob();
  return {};
}

}  // namespace dgq
