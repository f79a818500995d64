// agent/completion_reply.h - tokens as they come, into the answer to POST /v1/completions or /v1/chat/completions:
// text, stop strings, logprobs, usage; whole or as a stream.
#pragma once

#include <functional>

#include "agent/answer_json.h"
#include "agent/completion_request.h"
#include "agent/http.h"
#include "agent/stop_scanner.h"
#include "agent/stream_chunk.h"
#include "runtime/detokenizer.h"

namespace dgq::agent {

// What there is to say about a request when it has ended.
struct CompletionSummary {
  int status;
  Finish finish;
  std::size_t prompt_tokens, tokens;
  std::string why;  // it failed
};

class CompletionReply : public TokenSink {
 public:
  // ended: called once, before the client has the end of its answer. The tokenizer is borrowed: the engine,
  // which ends this, goes before it does.
  CompletionReply(const ServedModel& model, const CompletionRequest& request,
                  std::shared_ptr<HttpReply> reply, std::function<void(const CompletionSummary&)> ended);

  void begin(std::size_t cached) override { cached_ = cached; }
  bool token(const GeneratedToken& token) override;
  void end(Finish finish, const std::string& why) override;

 private:
  void add(const std::string& text);
  void add(ToolCallReader::Pieces pieces);
  Json take_logprobs(std::size_t before);
  void begin_stream();
  void send_piece(std::size_t logprobs_before, const char* finish);
  Json usage() const;
  void send_error(const ApiError& error);

  const Tokenizer& tokenizer_;
  const std::shared_ptr<HttpReply> reply_;
  const std::function<void(const CompletionSummary&)> ended_;
  const bool chat_, stream_, include_usage_, wants_logprobs_;
  const std::size_t prompt_tokens_;
  const Json head_;  // what all parts of the answer have in common
  StreamChunk chunk_;

  Detokenizer detokenizer_;
  StopScanner scanner_;
  ToolCallReader calls_reader_;
  Json calls_ = Json::array();        // of an answer that is no stream
  std::string text_;                  // not sent yet
  std::size_t seen_ = 0, ready_ = 0;  // characters: from the detokenizer, and past the scanner
  std::vector<Logprob> logprobs_;     // not sent yet
  std::size_t tokens_ = 0, cached_ = 0;
  bool begun_ = false;  // the stream
};

}  // namespace dgq::agent
