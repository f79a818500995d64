// agent/prefix_files.h - prefix caches over a restart: where they are kept, and what becomes of the files.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "agent/log.h"
#include "agent/models.h"

namespace dgq::agent {

// Whatever goes wrong with a file costs a line in the log: without it prompts are computed.
class PrefixFiles {
 public:
  enum class Naming {
    one,       // the file itself
    by_model,  // FILE.NAME, by ServedModel::name
  };
  // file: empty: nothing is kept. Borrows the log.
  PrefixFiles(std::filesystem::path file, Naming naming, const Log& log)
      : file_(std::move(file)), naming_(naming), log_(log) {}

  // Into the model's cache, if the file is of its version.
  void load(const ServedModel& model) const;
  void save(const ServedModel& model) const;
  // Of a version that is served no more. by_model only.
  void remove(const std::string& name) const;
  // The files of all names but these, which nobody else would remove. by_model only.
  void remove_all_but(const std::set<std::string>& names) const;

 private:
  std::filesystem::path path_of(const std::string& name) const;

  const std::filesystem::path file_;
  const Naming naming_;
  const Log& log_;
};

}  // namespace dgq::agent
