#include "agent/completion_reply.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <random>

namespace dgq::agent {
namespace {

std::string new_id(const char* prefix) {
  static const std::uint64_t process = std::random_device()();
  static std::atomic<std::uint64_t> count = 0;
  char text[40];
  std::snprintf(text, sizeof text, "%s%08llx%08llx", prefix, static_cast<unsigned long long>(process),
                static_cast<unsigned long long>(++count));
  return text;
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

const char* object_name(const CompletionRequest& request) {
  if (!request.chat) return "text_completion";
  return request.stream ? "chat.completion.chunk" : "chat.completion";
}

}  // namespace

CompletionReply::CompletionReply(const ServedModel& model, const CompletionRequest& request,
                                 std::shared_ptr<HttpReply> reply,
                                 std::function<void(const CompletionSummary&)> ended)
    : tokenizer_(model.tokenizer),
      reply_(std::move(reply)),
      ended_(std::move(ended)),
      chat_(request.chat),
      stream_(request.stream),
      include_usage_(request.include_usage),
      wants_logprobs_(request.generation.logprobs.has_value()),
      prompt_tokens_(request.generation.prompt.size()),
      head_({{"id", new_id(request.chat ? "chatcmpl-" : "cmpl-")},
             {"object", object_name(request)},
             {"created", static_cast<std::int64_t>(std::time(nullptr))},
             {"model", model.name},
             {"system_fingerprint", "dgq-" + model.version.substr(0, 12)}}),
      chunk_(head_, chat_),
      detokenizer_(model.tokenizer),
      scanner_(request.stop),
      calls_reader_(request.calls, request.functions) {
  for (const std::int32_t token : request.generation.prompt)
    detokenizer_.push(token);  // text depends on what stood before it
}

bool CompletionReply::token(const GeneratedToken& token) {
  ++tokens_;
  if (wants_logprobs_) logprobs_.push_back({token, seen_});
  add(detokenizer_.push(token.id));
  if (stream_) begin_stream();
  if (stream_ && !text_.empty()) send_piece(ready_, nullptr);
  return !scanner_.found();
}

void CompletionReply::begin_stream() {
  if (begun_) return;
  begun_ = true;
  reply_->begin_events();
  if (chat_) reply_->event(chunk_.role());
}

void CompletionReply::send_piece(std::size_t logprobs_before, const char* finish) {
  const std::string logprobs = wants_logprobs_ ? dump(take_logprobs(logprobs_before)) : "null";
  reply_->event(chunk_.piece(text_, logprobs, finish));
  text_.clear();
}

void CompletionReply::add(const std::string& text) {
  seen_ += characters(text);
  const std::string ready = scanner_.push(text);
  ready_ += characters(ready);
  add(calls_reader_.push(ready));
}

void CompletionReply::add(ToolCallReader::Pieces pieces) {
  text_ += pieces.text;
  if (stream_ && !pieces.calls.empty()) {
    begin_stream();
    if (!text_.empty()) send_piece(ready_, nullptr);
  }
  for (CallPiece& piece : pieces.calls) {
    const std::string id = piece.name.empty() ? "" : new_id("call_");
    if (stream_) {
      reply_->event(chunk_.call(piece, id));
    } else if (id.empty()) {
      calls_.back()["function"]["arguments"].get_ref<std::string&>() += piece.arguments;
    } else {
      calls_.push_back({{"id", id},
                        {"type", "function"},
                        {"function", {{"name", piece.name}, {"arguments", piece.arguments}}}});
    }
  }
}

// Of the tokens that begin before character `before`.
Json CompletionReply::take_logprobs(std::size_t before) {
  if (!wants_logprobs_) return nullptr;
  const auto last =
      std::find_if(logprobs_.begin(), logprobs_.end(), [&](const Logprob& l) { return l.offset >= before; });
  const std::span<const Logprob> ready(logprobs_.begin(), last);
  Json taken = chat_ ? chat_logprobs(tokenizer_, ready) : completion_logprobs(tokenizer_, ready);
  logprobs_.erase(logprobs_.begin(), last);
  return taken;
}

Json CompletionReply::usage() const {
  return {{"prompt_tokens", prompt_tokens_},
          {"completion_tokens", tokens_},
          {"total_tokens", prompt_tokens_ + tokens_},
          {"prompt_tokens_details", {{"cached_tokens", cached_}}}};
}

void CompletionReply::send_error(const ApiError& error) {
  if (!begun_) return reply_->send(error.status, "application/json", dump(to_json(error)));
  reply_->event(dump(to_json(error)));
  reply_->end_events();
}

void CompletionReply::end(Finish finish, const std::string& why) {
  const bool failed = finish == Finish::failed || finish == Finish::cancelled;
  const int status = finish == Finish::failed ? 500 : finish == Finish::cancelled ? 503 : 200;
  ended_({status, finish, prompt_tokens_, tokens_, why});
  if (failed)
    return send_error({status, why.empty() ? "the request was cancelled: the server shuts down" : why,
                       finish == Finish::failed ? "server_error" : "unavailable_error"});
  if (!scanner_.found()) {
    add(detokenizer_.finish());
    if (!scanner_.found()) add(calls_reader_.push(scanner_.finish()));
  }
  add(calls_reader_.finish());
  const char* reason = finish == Finish::length && !scanner_.found() ? "length"
                       : calls_reader_.calls() > 0                   ? "tool_calls"
                                                                     : "stop";
  const std::size_t last = scanner_.found() ? ready_ : SIZE_MAX;
  if (!stream_) {
    Json choice = chat_ ? chat_choice(text_, std::move(calls_)) : completion_choice(text_);
    choice.update({{"index", 0}, {"logprobs", take_logprobs(last)}, {"finish_reason", reason}});
    Json whole = head_;
    whole.update({{"choices", Json::array({std::move(choice)})}, {"usage", usage()}});
    return reply_->send(200, "application/json", dump(whole));
  }
  begin_stream();  // it may have ended before its first token
  send_piece(last, reason);
  if (include_usage_) reply_->event(chunk_.usage(usage()));
  reply_->event("[DONE]");
  reply_->end_events();
}

}  // namespace dgq::agent
