#include "agent/engine.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "agent/give_way.h"
#include "runtime/parallel.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace dgq::agent {
namespace {

// Rows of a prompt when no running sequence waits for the step: as Session takes them.
constexpr std::size_t kIdlePrefillRows = 256;

using Clock = std::chrono::steady_clock;

struct Sequence {
  RequestId id;
  Generation request;
  std::shared_ptr<TokenSink> sink;
  Sampler sampler;
  std::vector<std::int32_t> tokens;    // the prompt's, then the generated
  std::size_t position = 0;            // tokens whose keys and values are in the cache
  bool begun = false;                  // its prompt has had a turn
  KvCache* cache = nullptr;            // its slot, while it has one
  std::optional<GeneratedToken> next;  // what choose() found for the step
  std::string why;                     // or why it found none

  Sequence(RequestId id, Generation r, std::shared_ptr<TokenSink> to)
      : id(id),
        request(std::move(r)),
        sink(std::move(to)),
        sampler(request.sampling),
        tokens(request.prompt) {}
  std::size_t generated() const { return tokens.size() - request.prompt.size(); }
};
using SequencePtr = std::unique_ptr<Sequence>;
using Sequences = std::vector<SequencePtr>;

GeneratedToken with_logprobs(std::int32_t id, std::span<const float> logits, std::size_t count) {
  const LogSoftmax logprob(logits);
  GeneratedToken token{id, logprob(logits[static_cast<std::size_t>(id)]), {}};
  std::vector<std::int32_t> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);
  const auto logit = [&](std::int32_t i) { return logits[static_cast<std::size_t>(i)]; };
  count = std::min(count, ids.size());
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
      [&](std::int32_t a, std::int32_t b) { return logit(a) != logit(b) ? logit(a) > logit(b) : a < b; });
  for (std::size_t i = 0; i < count; ++i) token.top.push_back({ids[i], logprob(logit(ids[i]))});
  return token;
}

}  // namespace

const char* to_text(Finish finish) {
  constexpr const char* kNames[] = {"eos", "stop", "length", "cancelled", "failed"};
  return kNames[static_cast<int>(finish)];
}

class Engine::Scheduler {
 public:
  Scheduler(const ModelConfig& config, const ModelWeights& weights, Decoder decoder,
            const EngineOptions& options)
      : config_(config), weights_(weights), decoder_(std::move(decoder)), options_(options) {
    for (std::size_t i = 0; i < options.kv.slots; ++i)
      caches_.emplace_back(config, options.kv.context, options.kv.type);
    for (KvCache& cache : caches_) free_.push_back(&cache);
    logits_.resize((options.kv.slots + 1) * config.vocab);
    // No sequence is lost for want of memory between two steps.
    waiting_.reserve(options.queue);
    for (Sequences* sequences : {&prompts_, &running_}) sequences->reserve(options.kv.slots);
    leaving_.reserve(options.queue + options.kv.slots);
    thread_ = std::thread([this] { run(); });
  }

  ~Scheduler() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = draining_ = true;
    }
    work_.notify_one();
    thread_.join();
  }

  Result<RequestId> submit(Generation request, std::shared_ptr<TokenSink> sink) {
    if (request.prompt.empty()) return Error{Errc::invalid, "the prompt is empty"};
    DGQ_CHECK(check_tokens(config_, request.prompt));
    if (request.prompt.size() > options_.kv.context)
      return Error{Errc::invalid, "the prompt has " + std::to_string(request.prompt.size()) +
                                      " tokens, the context holds " + std::to_string(options_.kv.context)};
    if (request.max_tokens < 1) return Error{Errc::invalid, "there is no token to generate"};
    DGQ_CHECK(check(request.sampling));
    const std::size_t room = tokens_left(request.max_tokens, request.prompt.size());
    if (request.constraint && request.constraint->least_tokens() > room)
      return Error{Errc::invalid, "an answer of this schema may need " +
                                      std::to_string(request.constraint->least_tokens()) +
                                      " tokens, and there may be " + std::to_string(room) +
                                      ": max_tokens or the context is too small"};
    const std::lock_guard lock(mutex_);
    if (draining_) return Error{Errc::busy, "the model takes no more requests: it is shutting down"};
    if (waiting_.size() >= options_.queue) {
      ++stats_.refused;
      return Error{Errc::busy, "the queue is full: " + std::to_string(waiting_.size()) + " requests wait"};
    }
    const RequestId id = next_id_++;
    waiting_.push_back(std::make_unique<Sequence>(id, std::move(request), std::move(sink)));
    work_.notify_one();
    return id;
  }

  void cancel(RequestId id) {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
    work_.notify_one();
  }

  bool drain(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    draining_ = true;
    return idle_.wait_for(lock, patience, [&] { return waiting_.empty() && active_ == 0; });
  }
  bool draining() const {
    const std::lock_guard lock(mutex_);
    return draining_;
  }

  bool answers(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    const std::uint64_t question = ++asked_;
    work_.notify_one();
    return answer_.wait_for(lock, patience, [&] { return answered_ >= question; });
  }

  EngineStats stats() const {
    const std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.processing = active_;
    stats.waiting = waiting_.size();
    return stats;
  }

  const EngineOptions& options() const { return options_; }

 private:
  void run() {
    give_way();
    while (take_orders()) {
      try {
        step();
      } catch (const std::exception& error) {  // no memory for the scratch of a step
        fail_all(error.what());
      }
    }
  }

  // Waits until there is something to do. Applies what other threads asked for; false: stop.
  bool take_orders() {
    bool go_on;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] {
        return stopping_ || active_ > 0 || !waiting_.empty() || !cancelled_.empty() || answered_ != asked_;
      });
      go_on = !stopping_;
      if (std::exchange(answered_, asked_) != asked_) answer_.notify_all();
      for (Sequences* sequences : {&waiting_, &prompts_, &running_}) take_cancelled(*sequences);
      cancelled_.clear();
      // Those that wait may have the slots of those that left.
      for (const SequencePtr& sequence : leaving_) release(*sequence);
      const std::size_t admitted = std::min(waiting_.size(), free_.size());
      for (std::size_t i = 0; i < admitted; ++i) {
        waiting_[i]->cache = free_.back();
        free_.pop_back();
        prompts_.push_back(std::move(waiting_[i]));
      }
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(admitted));
      active_ = prompts_.size() + running_.size() + leaving_.size();  // these count until their sinks know
    }
    for (SequencePtr& sequence : leaving_) end(std::move(sequence), Finish::cancelled);
    leaving_.clear();
    settle();
    return go_on;
  }

  // To leaving_. mutex_ is held.
  void take_cancelled(Sequences& sequences) {
    for (SequencePtr& sequence : sequences)
      if (stopping_ || std::find(cancelled_.begin(), cancelled_.end(), sequence->id) != cancelled_.end())
        leaving_.push_back(std::move(sequence));
    std::erase(sequences, nullptr);
  }

  void release(Sequence& sequence) {
    if (sequence.cache) free_.push_back(std::exchange(sequence.cache, nullptr));
  }

  void end(SequencePtr sequence, Finish finish, const std::string& why = {}) {
    if (finish != Finish::failed) keep(*sequence);
    release(*sequence);
    {
      const std::lock_guard lock(mutex_);
      ++stats_.finished[static_cast<int>(finish)];
      stats_.most_tokens = std::max<std::uint64_t>(stats_.most_tokens, sequence->tokens.size());
    }
    try {
      sequence->sink->end(finish, why);
    } catch (const std::exception&) {  // no memory to say so; the sink goes all the same
    }
  }

  void fail_all(const std::string& why) {
    for (Sequences* sequences : {&prompts_, &running_}) {
      for (SequencePtr& sequence : *sequences) end(std::move(sequence), Finish::failed, why);
      sequences->clear();
    }
    settle();
  }

  // Tells the other threads how many sequences are left.
  void settle() {
    const std::lock_guard lock(mutex_);
    active_ = prompts_.size() + running_.size();
    if (active_ == 0) idle_.notify_all();
  }

  // What is in the cache of a sequence, for those that begin like it.
  void keep(const Sequence& sequence) {
    if (options_.prefix_cache && sequence.cache && sequence.request.cache_prompt)
      options_.prefix_cache->store(std::span(sequence.tokens).first(sequence.position), *sequence.cache);
  }

  // A prompt's first turn: as late as can be, since those before it may begin with the same words.
  void begin(Sequence& prompt) {
    if (std::exchange(prompt.begun, true)) return;
    if (options_.prefix_cache && prompt.request.cache_prompt)
      prompt.position = options_.prefix_cache->restore(prompt.tokens, *prompt.cache);
    prompt.sink->begin(prompt.position);
  }

  // Rows of the prompt whose turn it is.
  std::size_t slice() const {
    if (prompts_.empty()) return 0;
    const Sequence& prompt = *prompts_.front();
    return std::min(running_.empty() ? kIdlePrefillRows : options_.prefill_rows,
                    prompt.tokens.size() - prompt.position);
  }

  void add_rows(const Sequence& sequence, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      rows_.push_back({sequence.cache, sequence.position + i});
      tokens_.push_back(sequence.tokens[sequence.position + i]);
    }
  }

  void step() {
    if (!prompts_.empty()) begin(*prompts_.front());
    const std::size_t prompt_rows = slice();
    if (running_.empty() && prompt_rows == 0) return;
    rows_.clear(), tokens_.clear(), wanted_.clear();
    for (const SequencePtr& sequence : running_) {
      wanted_.push_back(rows_.size());
      add_rows(*sequence, 1);
    }
    bool prompt_is_done = false;
    if (prompt_rows > 0) {
      const Sequence& prompt = *prompts_.front();
      add_rows(prompt, prompt_rows);
      prompt_is_done = prompt.position + prompt_rows == prompt.tokens.size();
      if (prompt_is_done) wanted_.push_back(rows_.size() - 1);
    }

    const auto began = Clock::now();
    decoder_.forward(weights_, tokens_, rows_, wanted_, logits_.data());
    count(std::chrono::duration<double>(Clock::now() - began).count(), prompt_rows);

    for (const SequencePtr& sequence : running_) ++sequence->position;
    if (prompt_rows > 0) {
      SequencePtr prompt = std::move(prompts_.front());
      prompts_.erase(prompts_.begin());
      prompt->position += prompt_rows;
      if (prompt_is_done) keep(*prompt);
      (prompt_is_done ? running_ : prompts_).push_back(std::move(prompt));
    }
    choose_tokens();
    settle();
  }

  void count(double seconds, std::size_t prompt_rows) {
    const double prompt_share = static_cast<double>(prompt_rows) / static_cast<double>(rows_.size());
    const std::lock_guard lock(mutex_);
    stats_.prompt_tokens += prompt_rows;
    stats_.predicted_tokens += wanted_.size();
    stats_.prompt_s += seconds * prompt_share;
    stats_.predicted_s += seconds * (1 - prompt_share);
    stats_.steps += 1;
    stats_.busy_slots += running_.size() + (prompt_rows > 0 ? 1 : 0);
  }

  // The next token of each sequence in wanted_, which are those in running_. Sequences that end leave.
  void choose_tokens() {
    parallel_ranges(decoder_.threads(), running_.size(), [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i)
        choose(*running_[i], std::span(logits_).subspan(i * config_.vocab, config_.vocab));
    });
    for (SequencePtr& sequence : running_) {
      std::optional<Finish> finish = Finish::failed;
      try {
        if (sequence->next) finish = advance(*sequence, *sequence->next);
      } catch (const std::exception& error) {  // no memory, here or in the sink
        sequence->why = error.what();
      }
      if (finish) {
        const std::string why = std::move(sequence->why);
        end(std::move(sequence), *finish, why);
      }
    }
    std::erase(running_, nullptr);
  }

  // Touches nothing but the sequence: several go at a time.
  void choose(Sequence& sequence, std::span<const float> logits) const noexcept {
    sequence.next.reset();
    try {
      JsonConstraint* const constraint = sequence.request.constraint.get();
      const auto allowed =
          constraint ? constraint->allowed(tokens_left(sequence)) : std::span<const std::uint64_t>();
      const auto id = sequence.sampler.sample(logits, sequence.tokens, allowed);
      if (!id) {
        sequence.why = id.error().what;
      } else {
        const auto& logprobs = sequence.request.logprobs;
        sequence.next = logprobs ? with_logprobs(*id, logits, *logprobs) : GeneratedToken{*id, 0, {}};
      }
    } catch (const std::exception& error) {  // no memory
      sequence.why = error.what();
    }
  }

  // How many tokens a sequence may still get, when it may generate `wanted` more. The last needs no place in the
  // cache: nothing comes after it.
  std::size_t tokens_left(std::size_t wanted, std::size_t tokens) const {
    return std::min(wanted, options_.kv.context + 1 - tokens);
  }

  std::size_t tokens_left(const Sequence& sequence) const {
    return tokens_left(sequence.request.max_tokens - sequence.generated(), sequence.tokens.size());
  }

  std::optional<Finish> advance(Sequence& sequence, const GeneratedToken& token) {
    const Generation& request = sequence.request;
    JsonConstraint* const constraint = request.constraint.get();
    const std::size_t left = tokens_left(sequence);
    const auto is_among = [&](const std::vector<std::int32_t>& ids) {
      return std::find(ids.begin(), ids.end(), token.id) != ids.end();
    };
    if ((request.stop_at_eos || constraint) && (is_among(config_.eos) || is_among(request.more_eos)))
      return Finish::eos;
    sequence.tokens.push_back(token.id);
    if (constraint) constraint->accept(token.id);
    if (!sequence.sink->token(token)) return Finish::enough;
    if (constraint && constraint->is_over()) return constraint->was_hurried() ? Finish::length : Finish::eos;
    if (left == 1) return Finish::length;
    return std::nullopt;
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  Decoder decoder_;
  const EngineOptions options_;

  // Of the engine's thread.
  std::vector<KvCache> caches_;
  std::vector<KvCache*> free_;
  Sequences prompts_;  // in the order of their turns
  Sequences running_;
  Sequences leaving_;  // empty but in take_orders()
  std::vector<Row> rows_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::size_t> wanted_;
  std::vector<float> logits_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable work_, idle_, answer_;
  Sequences waiting_;
  std::vector<RequestId> cancelled_;
  RequestId next_id_ = 1;
  std::size_t active_ = 0;  // sequences with a slot
  bool draining_ = false, stopping_ = false;
  std::uint64_t asked_ = 0, answered_ = 0;  // of answers()
  EngineStats stats_;

  std::thread thread_;  // the last, so that everything is there when it starts
};

Engine::Engine(const ModelConfig& config, const ModelWeights& weights, Decoder decoder,
               const EngineOptions& options)
    : scheduler_(std::make_unique<Scheduler>(config, weights, std::move(decoder), options)) {}
Engine::~Engine() = default;

Result<RequestId> Engine::submit(Generation request, std::shared_ptr<TokenSink> sink) {
  return scheduler_->submit(std::move(request), std::move(sink));
}
void Engine::cancel(RequestId id) { scheduler_->cancel(id); }
bool Engine::drain(std::chrono::milliseconds patience) { return scheduler_->drain(patience); }
bool Engine::answers(std::chrono::milliseconds patience) { return scheduler_->answers(patience); }
bool Engine::draining() const { return scheduler_->draining(); }
EngineStats Engine::stats() const { return scheduler_->stats(); }
const EngineOptions& Engine::options() const { return scheduler_->options(); }

}  // namespace dgq::agent
