#include "registry/manifest.h"

#include <gtest/gtest.h>

namespace dgq {
namespace {

Manifest sample() {
  Manifest manifest;
  manifest.config = {{"hidden_size", 64}, {"architectures", {"LlamaForCausalLM"}}};
  manifest.blobs = {{"embedding", "layer", sha256("e"), 128},
                    {"tokenizer", "tokenizer.json", sha256("t"), 7}};
  manifest.provenance = {{"tool", "dgq 0.1.0"}};
  return manifest;
}

TEST(Manifest, CanonicalTextIsFixed) {
  EXPECT_EQ(
      sample().canonical(),
      R"({"activation_block":128,"blobs":[{"bytes":128,"digest":")" + sha256("e").hex() +
          R"(","media":"layer","name":"embedding"},{"bytes":7,"digest":")" + sha256("t").hex() +
          R"(","media":"tokenizer.json","name":"tokenizer"}],"config":{"architectures":["LlamaForCausalLM"],)"
          R"("hidden_size":64},"format":1,"provenance":{"tool":"dgq 0.1.0"},"recipe":null,"report":null})");
}

TEST(Manifest, RoundTrip) {
  const std::string text = sample().canonical();
  const auto parsed = Manifest::parse(text, "m");
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(parsed->canonical(), text);
  ASSERT_TRUE(parsed->find("tokenizer"));
  EXPECT_EQ(parsed->find("tokenizer")->digest, sha256("t"));
  EXPECT_EQ(parsed->find("tokenizer")->bytes, 7u);
  EXPECT_EQ(parsed->find("layers.0"), nullptr);
  EXPECT_EQ(parsed->config.at("hidden_size"), 64);
}

TEST(Manifest, NamesThatAreNotUtf8BecomeText) {
  Manifest manifest = sample();
  manifest.provenance = {{"source",
                          "mod\xff"
                          "el"}};
  EXPECT_TRUE(Manifest::parse(manifest.canonical(), "m"));
}

TEST(Manifest, RefusesWhatIsWrong) {
  const auto with = [](const std::function<void(Json&)>& spoil) {
    Json json = Json::parse(sample().canonical());
    spoil(json);
    return Manifest::parse(json.dump(), "m");
  };
  EXPECT_TRUE(with([](Json&) {}));
  EXPECT_EQ(with([](Json& j) { j["format"] = 2; }).error().code, Errc::unsupported);
  const std::function<void(Json&)> cases[] = {
      [](Json& j) { j = Json::array(); },
      [](Json& j) { j.erase("format"); },
      [](Json& j) { j["format"] = "1"; },
      [](Json& j) { j.erase("config"); },
      [](Json& j) { j["config"] = "x"; },
      [](Json& j) { j["activation_block"] = 64; },
      [](Json& j) { j["activation_block"] = -128; },
      [](Json& j) { j.erase("activation_block"); },
      [](Json& j) { j["recipe"] = 3; },
      [](Json& j) { j["blobs"] = Json::array(); },
      [](Json& j) {
        j["blobs"] = {{"name", "x"}};
      },
      [](Json& j) { j["blobs"][0] = "x"; },
      [](Json& j) { j["blobs"][0].erase("name"); },
      [](Json& j) { j["blobs"][0]["name"] = ""; },
      [](Json& j) { j["blobs"][0]["name"] = "two words"; },
      [](Json& j) { j["blobs"][0]["name"] = std::string(129, 'a'); },
      [](Json& j) { j["blobs"][0]["name"] = "tokenizer"; },
      [](Json& j) { j["blobs"][0]["media"] = 1; },
      [](Json& j) { j["blobs"][0]["digest"] = "abc"; },
      [](Json& j) { j["blobs"][0]["bytes"] = -1; },
      [](Json& j) { j["blobs"][0]["bytes"] = 1.5; },
      [](Json& j) { j["blobs"][0]["bytes"] = 1ull << 60; },
  };
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    const auto parsed = with(cases[i]);
    ASSERT_FALSE(parsed) << "case " << i;
    EXPECT_EQ(parsed.error().code, Errc::corrupt) << "case " << i;
    EXPECT_EQ(parsed.error().what.rfind("m: ", 0), 0u) << parsed.error().what;
  }
  EXPECT_EQ(Manifest::parse("{", "m").error().code, Errc::corrupt);
}

TEST(ModelRef, ParsesNameAndTag) {
  EXPECT_EQ(ModelRef::parse("demo")->text(), "demo:latest");
  EXPECT_EQ(ModelRef::parse("a/b-c_d.e/F9:g64")->model, "a/b-c_d.e/F9");
  EXPECT_EQ(ModelRef::parse("a/b:g64")->tag, "g64");
  EXPECT_TRUE(ModelRef::parse(std::string(128, 'a') + ":" + std::string(128, 'b')));
  EXPECT_TRUE(ModelRef::parse("a/.b"));
}

TEST(ModelRef, RefusesWhatIsNotAName) {
  for (const std::string& bad :
       {std::string(), std::string(":"), std::string("a:"), std::string(":b"), std::string("a:b:c"),
        std::string("a b"), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("a/.."),
        std::string("a/./b"), std::string(".a"), std::string("-a"), std::string("a\n"), std::string("a:b/c"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string(129, 'a'),
        "a:" + std::string(129, 'b')}) {
    const auto parsed = ModelRef::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, Errc::invalid);
  }
}

}  // namespace
}  // namespace dgq
