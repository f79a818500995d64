// tests/support/tokenizer_golden.h - a tokenizer against what the `tokenizers` library makes of the same texts.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "runtime/detokenizer.h"
#include "runtime/tokenizer.h"

namespace dgq::test {

// Files written by the `tokenizers` library: {"text", "ids", "decoded"} per line.
inline void check_golden(const Tokenizer& tokenizer, const std::filesystem::path& golden) {
  std::ifstream in(golden);
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    const Json want = *parse_json(line, golden.string());
    const auto ids = tokenizer.encode(want["text"].get<std::string>(), true);
    ASSERT_TRUE(ids) << ids.error().what;
    EXPECT_EQ(*ids, want["ids"].get<std::vector<std::int32_t>>()) << line;
    const auto text = tokenizer.decode(want["ids"].get<std::vector<std::int32_t>>(), false);
    ASSERT_TRUE(text) << text.error().what;
    EXPECT_EQ(*text, want["decoded"].get<std::string>()) << line;
    Detokenizer stream(tokenizer, false);
    std::string streamed;
    for (const std::int32_t id : *ids) streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), *text) << line;
  }
  EXPECT_EQ(lines, 263);
}

}  // namespace dgq::test
