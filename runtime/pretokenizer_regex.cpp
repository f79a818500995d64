#include "runtime/pretokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

template <auto free>
struct Free {
  template <class T>
  void operator()(T* pointer) const {
    free(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>>;

// Steps of backtracking (PCRE2's match limit) at one start offset before the shared budget pays. The patterns of GPT-2,
// Llama 3 and Qwen stay far below it except on long runs of white space, which cost about their length.
constexpr std::uint32_t kFreeSteps = 1000;
constexpr std::uint64_t kBudgetSteps = 16'000'000, kBudgetStepsPerByte = 64;
constexpr std::size_t kMaxExpressionBytes = 65536;
constexpr std::size_t kJitStackBytes = 1u << 20, kHeapLimitKib = 65536;

// One pcre2_match() after the other over one subject, each at a single start offset.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view subject)
      : code_(code),
        subject_(subject),
        data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        budget_(kBudgetSteps + kBudgetStepsPerByte * subject.size()) {
    if (!data_ || !context_) throw std::bad_alloc();
    pcre2_set_heap_limit(context_.get(), kHeapLimitKib);
  }

  // 1: matched at `start` up to `end`; 0: no match there; < 0: PCRE2's error.
  int match_at(std::size_t start, std::size_t& end) {
    int code = attempt(start, kFreeSteps);
    for (std::uint64_t steps = 8 * kFreeSteps; code == PCRE2_ERROR_MATCHLIMIT && steps <= budget_;
         steps *= 4) {
      budget_ -= steps;
      code = attempt(start, static_cast<std::uint32_t>(std::min<std::uint64_t>(steps, UINT32_MAX)));
    }
    if (code == PCRE2_ERROR_NOMATCH) return 0;
    if (code < 0) return code;
    end = pcre2_get_ovector_pointer(data_.get())[1];
    return 1;
  }

 private:
  int attempt(std::size_t start, std::uint32_t steps) {
    pcre2_set_match_limit(context_.get(), steps);
    const int code = run(start);
    if (code != PCRE2_ERROR_JIT_STACKLIMIT || stack_) return code;
    stack_.reset(
        pcre2_jit_stack_create(32768, kJitStackBytes, nullptr));  // the default is 32 KiB of our stack
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    return run(start);
  }
  int run(std::size_t start) {
    return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(subject_.data()), subject_.size(), start,
                       PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
  }

  const pcre2_code* code_;
  std::string_view subject_;
  MatchData data_;
  MatchContext context_;
  JitStack stack_;
  std::uint64_t budget_;
};

std::string message(int code) {
  PCRE2_UCHAR text[160];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Pattern::Compiled {
  Code code;
};

Result<Pattern> Pattern::literal(std::string_view text, std::string_view where) {
  if (text.empty()) return Error{Errc::corrupt, std::string(where) + ": an empty pattern"};
  Pattern pattern;
  pattern.text_ = text;
  return pattern;
}

Result<Pattern> Pattern::regex(std::string_view expression, std::string_view where) {
  if (expression.size() > kMaxExpressionBytes)
    return Error{Errc::unsupported, std::string(where) + ": a regular expression longer than " +
                                        std::to_string(kMaxExpressionBytes) + " bytes"};
  DGQ_TRY(const std::string translated, translate_regex(expression, where));
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ always mean lines. Anchored, because a limit of PCRE2 holds per start offset: the search over offsets
  // is find_all's, where the budget covers all of them.
  Compiled compiled{
      Code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_ANCHORED | PCRE2_NO_AUTO_CAPTURE,
                         &code, &offset, context.get()))};
  if (!compiled.code)
    return Error{Errc::corrupt, std::string(where) + ": bad regular expression " + in_quotes(expression) +
                                    ": " + message(code)};
  pcre2_jit_compile(compiled.code.get(),
                    PCRE2_JIT_COMPLETE);  // refused on some kernels: the interpreter is the same
  Pattern pattern;
  pattern.text_ = expression;
  pattern.compiled_ = std::make_shared<const Compiled>(std::move(compiled));
  return pattern;
}

Result<void> Pattern::find_all(std::string_view subject, std::vector<TextRange>& matches) const {
  if (!compiled_) {
    for (std::size_t at = 0; (at = subject.find(text_, at)) != std::string_view::npos; at += text_.size())
      matches.push_back({at, at + text_.size()});
    return {};
  }
  Search search(compiled_->code.get(), subject);
  std::size_t last_end = std::string_view::npos;
  for (std::size_t start = 0; start <= subject.size();) {
    std::size_t end = 0;
    const int code = search.match_at(start, end);
    if (code < 0)
      return Error{Errc::unsupported, "the pattern " + in_quotes(text_) +
                                          " of the tokenizer gives up on this text: " + message(code)};
    if (code == 1 && (end > start || start != last_end)) {
      matches.push_back({start, end});
      last_end = end;
      if (end > start) {
        start = end;
        continue;
      }
    }
    start += start < subject.size() ? utf8_length(subject.substr(start)) : 1;
  }
  return {};
}

}  // namespace dgq
