// Any text as a chat template: parsed and rendered, or an error that names the line; within its limits.
#include <cstdlib>

#include "runtime/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = dgq::JinjaTemplate::parse({reinterpret_cast<const char*>(data), size});
  static const dgq::OrderedJson variables = dgq::OrderedJson::parse(
      R"({"messages": [{"role": "system", "content": " a "}, {"role": "user", "content": "b<|x|>\u00e9"},
          {"role": "assistant", "content": null, "n": [1, 2.5, true, {"k": "v"}]}], "add_generation_prompt": true})");
  static const dgq::OrderedJson own = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  const auto check = [](const dgq::Error& error) {
    if (!error.what.starts_with("line ")) std::abort();
  };
  if (!parsed) return check(parsed.error()), 0;
  const auto rendered = parsed->render(variables, own, 1700000000, {20'000, 1u << 20, 20, 1u << 16});
  if (!rendered) return check(rendered.error()), 0;
  if (rendered->text.size() > 1u << 16 || rendered->from_data.size() != rendered->text.size()) std::abort();
  return 0;
}
