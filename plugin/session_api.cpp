// plugin/session_api.cpp - dgq.h: sessions, sampling, generation.
#include <algorithm>

#include "plugin/objects.h"
#include "runtime/detokenizer.h"
#include "runtime/session_file.h"

using namespace dgq;
using namespace dgq::plugin;

namespace {

// The body gets the session, alone.
template <class Body>
dgq_status call_on(dgq_session* session, const Body& body) {
  return call([&] {
    const auto object = object_of(sessions(), session);
    const std::lock_guard lock(object->mutex);
    body(*object);
  });
}

void append(SessionObject& session, std::span<const std::int32_t> tokens) {
  session.tokens.reserve(session.tokens.size() + tokens.size());  // nothing may fail after append()
  must(session.session.append(tokens));
  session.tokens.insert(session.tokens.end(), tokens.begin(), tokens.end());
}

void need_logits(const SessionObject& session) {
  if (session.session.position() == 0) refuse(DGQ_INVALID, "the session has no tokens yet");
}

SamplerOptions options_of(const dgq_sampling* sampling) {
  if (!sampling) return {};
  sized(sampling, "sampling");
  return {sampling->temperature,
          sampling->top_k,
          sampling->top_p,
          sampling->min_p,
          sampling->repetition_penalty,
          sampling->repetition_window,
          sampling->seed};
}

std::int32_t sample(SessionObject& session, const SamplerOptions& options) {
  if (session.sampling != options) {
    must(check(options));
    session.sampler.emplace(options);
    session.sampling = options;
  }
  return value_of(session.sampler->sample(session.session.logits(), session.tokens));
}

struct Sink {
  dgq_token_callback callback;
  void* user;
  bool operator()(std::int32_t token, const std::string& text) const {
    return !callback || callback(token, text.c_str(), user) == 0;
  }
};

// How many tokens.
std::size_t generate(SessionObject& session, const dgq_generation& wanted, const Sink& sink) {
  const ModelObject& model = *session.model;
  const SamplerOptions options = options_of(&wanted.sampling);
  Detokenizer detokenizer(model.tokenizer);
  for (const std::int32_t token : session.tokens)
    detokenizer.push(token);  // text depends on what stood before it
  const std::vector<std::int32_t>& eos = model.model.config().eos;
  std::size_t made = 0;
  for (bool go_on = true; go_on && (wanted.max_tokens == 0 || made < wanted.max_tokens);) {
    const std::int32_t token = sample(session, options);
    if (wanted.stop_at_eos && std::find(eos.begin(), eos.end(), token) != eos.end()) break;
    go_on = sink(token, detokenizer.push(token));
    ++made;
    if (session.session.position() == session.session.context()) break;
    append(session, std::span(&token, 1));
  }
  if (const std::string rest = detokenizer.finish(); !rest.empty()) sink(-1, rest);
  return made;
}

}  // namespace

dgq_status dgq_session_open(dgq_model* model, size_t context, dgq_session** session) {
  return call([&] {
    auto object = object_of(models(), model);
    not_null(session, "session");
    const std::size_t positions = value_of(check_context(object->model.config(), context));
    *session = sessions().add(std::make_shared<SessionObject>(std::move(object), positions));
  });
}

dgq_status dgq_session_close(dgq_session* session) { return close(sessions(), session); }

dgq_status dgq_session_prefill(dgq_session* session, const int32_t* tokens, size_t count) {
  return call_on(session, [&](SessionObject& object) { append(object, input(tokens, count, "tokens")); });
}

dgq_status dgq_session_decode(dgq_session* session, int32_t token) {
  return call_on(session, [&](SessionObject& object) { append(object, std::span(&token, 1)); });
}

dgq_status dgq_session_logits(dgq_session* session, float* logits, size_t capacity, size_t* count) {
  return call_on(session, [&](SessionObject& object) {
    need_logits(object);
    give(object.session.logits(), logits, capacity, count);
  });
}

dgq_status dgq_session_position(dgq_session* session, size_t* position) {
  return call_on(session,
                 [&](SessionObject& object) { *not_null(position, "position") = object.session.position(); });
}

dgq_status dgq_session_reset(dgq_session* session) {
  return call_on(session, [](SessionObject& object) {
    object.session.reset();
    object.tokens.clear();
    object.sampling.reset();
  });
}

dgq_status dgq_session_save(dgq_session* session, const char* path) {
  return call_on(session, [&](SessionObject& object) {
    not_null(path, "path");
    must(save_session(object.session, object.tokens, object.model->model.version().digest, path));
  });
}

dgq_status dgq_session_load(dgq_session* session, const char* path) {
  return call_on(session, [&](SessionObject& object) {
    not_null(path, "path");
    object.tokens = value_of(load_session(object.session, object.model->model.version().digest, path));
    object.sampling.reset();
  });
}

void dgq_sampling_defaults(dgq_sampling* sampling) {
  if (sampling) *sampling = {sizeof(dgq_sampling), 0.8f, 40, 0.95f, 0, 1.1f, 64, 1};
}

dgq_status dgq_session_sample(dgq_session* session, const dgq_sampling* sampling, int32_t* token) {
  return call_on(session, [&](SessionObject& object) {
    not_null(token, "token");
    need_logits(object);
    *token = sample(object, options_of(sampling));
  });
}

void dgq_generation_defaults(dgq_generation* generation) {
  if (!generation) return;
  *generation = {sizeof(dgq_generation), 128, 1, 1, {}};
  dgq_sampling_defaults(&generation->sampling);
}

dgq_status dgq_generate(dgq_session* session, const char* prompt, const dgq_generation* generation,
                        dgq_token_callback callback, void* user, size_t* made) {
  return call_on(session, [&](SessionObject& object) {
    not_null(prompt, "prompt");
    dgq_generation wanted;
    dgq_generation_defaults(&wanted);
    if (generation) wanted = *sized(generation, "generation");
    const ModelObject& model = *object.model;
    std::vector<std::int32_t> tokens = value_of(model.tokenizer.encode(prompt, wanted.add_special != 0));
    if (tokens.empty() && object.tokens.empty() && start_token(model.model.config()) >= 0)
      tokens.push_back(start_token(model.model.config()));
    if (!tokens.empty()) append(object, tokens);
    need_logits(object);
    const std::size_t count = generate(object, wanted, {callback, user});
    if (made) *made = count;
  });
}
