#include "agent/metrics.h"

#include <algorithm>
#include <sstream>

#include "agent/process_stats.h"

namespace dgq::agent {
namespace {

class Page {
 public:
  Page() { text_.precision(15); }  // counters keep counting
  Page& metric(const char* name, const char* type, const char* help) {
    text_ << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
    name_ = name;
    return *this;
  }
  template <class Number>
  Page& value(Number number, const std::string& labels = {}) {
    text_ << name_ << labels << ' ' << number << '\n';
    return *this;
  }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  const char* name_ = "";
};

EngineStats sum(const std::vector<const Engine*>& engines) {
  EngineStats total;
  for (const Engine* engine : engines) {
    const EngineStats stats = engine->stats();
    total.prompt_tokens += stats.prompt_tokens;
    total.predicted_tokens += stats.predicted_tokens;
    total.prompt_s += stats.prompt_s;
    total.predicted_s += stats.predicted_s;
    total.steps += stats.steps;
    total.busy_slots += stats.busy_slots;
    total.most_tokens = std::max(total.most_tokens, stats.most_tokens);
    for (std::size_t i = 0; i < total.finished.size(); ++i) total.finished[i] += stats.finished[i];
    total.refused += stats.refused;
    total.processing += stats.processing;
    total.waiting += stats.waiting;
  }
  return total;
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

void add_llama_server_metrics(Page& page, const EngineStats& stats) {
  const auto prompt = static_cast<double>(stats.prompt_tokens),
             predicted = static_cast<double>(stats.predicted_tokens);
  page.metric("llamacpp:prompt_tokens_total", "counter", "Prompt tokens processed.")
      .value(stats.prompt_tokens);
  page.metric("llamacpp:prompt_seconds_total", "counter", "Time of prompt processing.").value(stats.prompt_s);
  page.metric("llamacpp:tokens_predicted_total", "counter", "Tokens generated.")
      .value(stats.predicted_tokens);
  page.metric("llamacpp:tokens_predicted_seconds_total", "counter", "Time of generating.")
      .value(stats.predicted_s);
  page.metric("llamacpp:n_decode_total", "counter", "Forward steps.").value(stats.steps);
  page.metric("llamacpp:n_tokens_max", "gauge", "Most tokens of one sequence.").value(stats.most_tokens);
  page.metric("llamacpp:n_busy_slots_per_decode", "gauge", "Mean number of sequences in a forward step.")
      .value(ratio(static_cast<double>(stats.busy_slots), static_cast<double>(stats.steps)));
  page.metric("llamacpp:prompt_tokens_seconds", "gauge", "Mean prompt tokens per second.")
      .value(ratio(prompt, stats.prompt_s));
  page.metric("llamacpp:predicted_tokens_seconds", "gauge", "Mean generated tokens per second.")
      .value(ratio(predicted, stats.predicted_s));
  page.metric("llamacpp:requests_processing", "gauge", "Requests that have a slot.").value(stats.processing);
  page.metric("llamacpp:requests_deferred", "gauge", "Requests that wait for a slot.").value(stats.waiting);
}

void add_own_metrics(Page& page, const std::vector<const Engine*>& engines, const EngineStats& stats,
                     const HttpStats& http) {
  std::size_t slots = 0, kv_bytes = 0, queue = 0;
  for (const Engine* engine : engines) {
    const EngineOptions& options = engine->options();
    slots += options.kv.slots;
    kv_bytes += options.kv.slots * options.kv.bytes_per_slot;
    queue += options.queue;
  }
  page.metric("dgq_slots", "gauge", "Sequences that can run at once.").value(slots);
  page.metric("dgq_kv_planned_bytes", "gauge", "KV cache of all slots when full.").value(kv_bytes);
  page.metric("dgq_queue_capacity", "gauge", "Requests that may wait.").value(queue);
  page.metric("dgq_requests_refused_total", "counter", "Requests that found the queue full.")
      .value(stats.refused);
  page.metric("dgq_requests_finished_total", "counter", "Requests that ended, by how.");
  for (std::size_t i = 0; i < stats.finished.size(); ++i)
    page.value(stats.finished[i], std::string("{finish=\"") + to_text(static_cast<Finish>(i)) + "\"}");
  page.metric("dgq_http_connections", "gauge", "Open connections.").value(http.connections);
  page.metric("dgq_http_connections_total", "counter", "Connections accepted.").value(http.accepted);
  page.metric("dgq_http_connections_refused_total", "counter", "Connections over the limit.")
      .value(http.refused);
  page.metric("dgq_http_requests_total", "counter", "HTTP requests read.").value(http.requests);
  page.metric("dgq_http_malformed_total", "counter", "HTTP messages refused as broken or too large.")
      .value(http.malformed);
  page.metric("dgq_tls_handshakes_failed_total", "counter", "TLS handshakes that failed or took too long.")
      .value(http.handshakes_failed);
  if (http.certificate_expires_unix_s > 0)
    page.metric("dgq_tls_certificate_expiry_seconds", "gauge", "When the certificate expires, in Unix time.")
        .value(http.certificate_expires_unix_s);
}

void add_prefix_cache_metrics(Page& page, const std::vector<const Engine*>& engines) {
  PrefixStats total;
  for (const Engine* engine : engines) {
    if (!engine->options().prefix_cache) continue;
    const PrefixStats stats = engine->options().prefix_cache->stats();
    total.restored_tokens += stats.restored_tokens;
    total.evicted_blocks += stats.evicted_blocks;
    total.stored_blocks += stats.stored_blocks;
    total.blocks += stats.blocks;
    total.bytes += stats.bytes;
    total.budget_bytes += stats.budget_bytes;
  }
  page.metric("dgq_prefix_cache_tokens_total", "counter", "Prompt tokens that were not computed again.")
      .value(total.restored_tokens);
  page.metric("dgq_prefix_cache_stored_blocks_total", "counter", "Blocks kept.").value(total.stored_blocks);
  page.metric("dgq_prefix_cache_evicted_blocks_total", "counter", "Blocks let go for want of room.")
      .value(total.evicted_blocks);
  page.metric("dgq_prefix_cache_blocks", "gauge", "Blocks that are there.").value(total.blocks);
  page.metric("dgq_prefix_cache_bytes", "gauge", "Their memory.").value(total.bytes);
  page.metric("dgq_prefix_cache_budget_bytes", "gauge", "What it may become.").value(total.budget_bytes);
}

// Names as Prometheus' client libraries have them, where they have one.
void add_process_metrics(Page& page) {
  const ProcessStats stats = process_stats();
  page.metric("process_resident_memory_bytes", "gauge", "Memory, mapped weights included.")
      .value(stats.resident_bytes);
  page.metric("dgq_anonymous_memory_bytes", "gauge", "Memory without what is mapped from files.")
      .value(stats.anonymous_bytes);
  page.metric("process_cpu_seconds_total", "counter", "CPU time.").value(stats.cpu_s);
  page.metric("process_open_fds", "gauge", "Open descriptors.").value(stats.open_fds);
  page.metric("dgq_threads", "gauge", "Threads.").value(stats.threads);
}

}  // namespace

std::string render_metrics(const std::vector<const Engine*>& engines, const HttpStats& http) {
  const EngineStats stats = sum(engines);
  Page page;
  add_llama_server_metrics(page, stats);
  add_own_metrics(page, engines, stats, http);
  add_prefix_cache_metrics(page, engines);
  add_process_metrics(page);
  return page.text();
}

}  // namespace dgq::agent
