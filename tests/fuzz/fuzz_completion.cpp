// Any bytes as the body of POST /v1/completions and /v1/chat/completions: read_completion and read_chat must answer with a request that the engine
// takes, or with an error that names what is wrong.
#include <cstdlib>

#include "agent/completion_request.h"
#include "runtime/session.h"
#include "tests/runtime/small_tokenizer.h"
#include "tests/runtime/synthetic.h"

namespace {

struct Fixture {
  dgq::test::SyntheticModel weights{dgq::test::small_config(), true};
  dgq::Kernels kernels = *dgq::select_kernels("ref");
  dgq::agent::ServedModel model{
      "m",
      std::string(64, '0'),
      0,
      nullptr,
      &weights.config,
      *dgq::test::parse(dgq::test::byte_level_json()),
      std::make_unique<dgq::agent::Engine>(
          weights.config, weights.weights, dgq::Decoder(weights.config, kernels, 1),
          dgq::agent::EngineOptions{
              *dgq::agent::plan_kv(weights.config, dgq::KvType::int8, 64, 1, UINT64_MAX), 1, 1})};
  Fixture() {
    add_formats(model, {},
                "{{ tools }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ m.tool_calls }}<|end|>{% endfor %}"
                "{# <tool_call></tool_call> #}");
  }
};

void read(const dgq::Json& body, std::string_view text, const dgq::agent::ServedModel& model,
          decltype(dgq::agent::read_chat) reader) {
  dgq::agent::CompletionRequest request;
  const auto error = reader(body, text, model, request);
  if (error) {
    const bool named = !error->param.empty() || error->code == dgq::agent::kUnknownParameter;  // "" is a name
    if (error->status != 400 || error->message.empty() || !named) std::abort();
    if (dgq::agent::dump(to_json(*error)).empty()) std::abort();
    return;
  }
  const dgq::agent::Generation& generation = request.generation;
  const std::size_t tokens = generation.prompt.size();
  if (!dgq::check(generation.sampling) || !check_tokens(*model.config, generation.prompt) ||
      generation.max_tokens < 1 || tokens < 1 || tokens > 64)
    std::abort();
  if (request.calls == dgq::agent::CallForm::whole && !generation.constraint) std::abort();
  if (request.calls != dgq::agent::CallForm::none && request.functions.empty()) std::abort();
  for (const std::string& stop : request.stop)
    if (stop.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Fixture fixture;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto body = dgq::parse_json(text, "the body");
  if (!body || !body->is_object()) return 0;
  read(*body, text, fixture.model, dgq::agent::read_completion);
  read(*body, text, fixture.model, dgq::agent::read_chat);
  return 0;
}
