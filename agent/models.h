// agent/models.h - the models that are served, by the names that clients say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/engine.h"
#include "runtime/chat_template.h"
#include "runtime/token_trie.h"
#include "runtime/tokenizer.h"

namespace dgq::agent {

// One version, loaded. Whoever answers a request holds a reference until it has submitted it; sinks, which
// end on the engine's thread, must not hold one.
struct ServedModel {
  std::string name;     // as /v1/models lists it
  std::string version;  // the digest, in hex
  std::int64_t created_unix_s = 0;
  std::shared_ptr<const void> keeps;    // what config and weights of the engine are views of
  const ModelConfig* config = nullptr;  // in there
  Tokenizer tokenizer;
  std::unique_ptr<Engine> engine;  // ends first
  // Set by add_formats(); where one is null, the text says why.
  std::shared_ptr<const ChatTemplate> chat = {};
  std::shared_ptr<const TokenTrie> trie = {};
  std::string no_chat = {}, no_trie = {};
};

// What chat and answers in JSON need of a model. blob: the version's, empty where it has none; text: a template that
// takes its place, with the tokens that the config names; empty: none does.
void add_formats(ServedModel& model, std::string_view blob, std::string_view text = {});

class Models {
 public:
  virtual ~Models() = default;
  // Thread-safe. An empty name: the only one, or the first. Null: there is none of that name, or not now.
  virtual std::shared_ptr<ServedModel> find(std::string_view name) = 0;
  virtual std::vector<std::shared_ptr<ServedModel>> all() = 0;
  // After find() gave null: the model exists and is about to be loaded.
  virtual bool coming(std::string_view /*name*/) { return false; }
};

// The same one for as long as it lives.
class OneModel : public Models {
 public:
  explicit OneModel(std::shared_ptr<ServedModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ServedModel> find(std::string_view name) override {
    return name.empty() || name == model_->name || name == model_->name + ":latest" ? model_ : nullptr;
  }
  std::vector<std::shared_ptr<ServedModel>> all() override { return {model_}; }

 private:
  const std::shared_ptr<ServedModel> model_;
};

}  // namespace dgq::agent
