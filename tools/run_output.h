// tools/run_output.h - where the results of `dgq bench` go: standard output in a format, and the registry.
#pragma once

#include <functional>
#include <string>

#include "bench/run.h"
#include "tools/command.h"

namespace dgq::tools {

enum class RunFormat { md, csv, json, sql };

// --output, --json (the same as --output json); with save: --no-save and --registry.
void add_output_options(Options& options, bool save);
Result<RunFormat> output_format(const Options& options);

// Columns as llama-bench names them where it has them: a line for each row, header first; or CREATE TABLE and INSERTs.
std::string rows_as_csv(const std::vector<bench::Run>& runs);
std::string rows_as_sql(const std::vector<bench::Run>& runs);
// A table of any rows: what they are, median with its 95 % interval, unit, samples.
void print_rows(const bench::Run& run);

// Prints the run (md: `print_md`), then adds it to the registry unless --no-save: to the one that --registry names, else to the
// default one if it is there. Says on stderr where, or why not.
Result<void> deliver(const Options& options, const bench::Run& run, const std::function<void()>& print_md);

}  // namespace dgq::tools
