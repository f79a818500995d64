// Who may use the API: tokens, pages of other sites, and the one page of our own.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "tests/agent/api_fixture.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::agent {
namespace {

using test::body;
using test::ServedApi;

TEST(Api, TheStatusPageIsWholeAndLocked) {
  dgq::test::ScratchFolder folder;
  dgq::test::write_text(folder / "tokens", "0123456789abcdef\n");
  ::chmod((folder / "tokens").c_str(), 0600);
  ServedApi served(2, 8, 128, *BearerTokens::read(folder / "tokens"));
  const auto page = served.client().get("/status");  // holds nothing that needs a token
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.head.find("Content-Type: text/html"), page.head.npos);
  EXPECT_NE(page.head.find("default-src 'none'"), page.head.npos);
  EXPECT_EQ(page.head.find("unsafe"), page.head.npos);
  EXPECT_NE(page.body.find("<title>dgq agent</title>"), page.body.npos);
  for (const char* place : {"/* status.css */", "/* status.js */", "src=", "@import", "url("})
    EXPECT_EQ(page.body.find(place), page.body.npos) << place;
  // The script that the header names is the one that is there: base64 of its SHA-256.
  const std::size_t begin = page.body.find("<script>") + 8, end = page.body.find("</script>");
  const Digest digest = sha256(std::string_view(page.body).substr(begin, end - begin));
  unsigned char text[48] = {};
  ::EVP_EncodeBlock(text, digest.bytes.data(), static_cast<int>(digest.bytes.size()));
  EXPECT_NE(page.head.find("script-src 'sha256-" + std::string(reinterpret_cast<char*>(text)) + "'"),
            page.head.npos)
      << page.head;
}

// What a browser sends for a page of another site: `Origin` is the browser's word, which no page can change.
TEST(Api, PagesOfOtherSitesAreRefused) {
  ServedApi served;
  const std::string request = R"({"prompt": "a", "max_tokens": 1})";
  for (const char* origin : {"http://evil.example", "null", "http://x.evil.example", "http://x:81"})
    EXPECT_EQ(
        served.client().post("/v1/completions", request, std::string("Origin: ") + origin + "\r\n").status,
        403)
        << origin;
  for (const char* origin : {"http://x", "https://x"})
    EXPECT_EQ(
        served.client().post("/v1/completions", request, std::string("Origin: ") + origin + "\r\n").status,
        200)
        << origin;
}

TEST(Api, TokensAreNeededWhereThereAreSome) {
  dgq::test::ScratchFolder folder;
  const auto file = folder / "tokens";
  const std::string text = "# for the tests\n\n0123456789abcdef\nanother-token-of-ours\n";
  ASSERT_TRUE(write_file_atomic(file, std::as_bytes(std::span(text))));
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::group_read);
  const auto exposed = BearerTokens::read(file);
  ASSERT_FALSE(exposed);
  EXPECT_NE(exposed.error().what.find("chmod 600"), std::string::npos);
  std::filesystem::permissions(file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  auto tokens = BearerTokens::read(file);
  ASSERT_TRUE(tokens) << tokens.error().what;
  ServedApi served(2, 8, 128, std::move(*tokens));
  auto client = served.client();
  EXPECT_EQ(client.get("/health").status, 200);
  for (const char* headers :
       {"", "Authorization: Bearer 0123456789abcdeg\r\n", "Authorization: Bearer 0123456789abcde\r\n",
        "Authorization: Basic 0123456789abcdef\r\n", "Authorization: Bearer \r\n",
        "Authorization: Bearer # for the tests\r\n"}) {
    const auto refused = client.get("/v1/models", headers);
    EXPECT_EQ(refused.status, 401) << headers;
    EXPECT_NE(refused.head.find("WWW-Authenticate: Bearer\r\n"), refused.head.npos);
    EXPECT_EQ(client.post("/v1/completions", body(3).dump(), headers).status, 401);
    EXPECT_EQ(client.get("/nowhere", headers).status, 401);
  }
  EXPECT_EQ(client.get("/v1/models", "Authorization: Bearer 0123456789abcdef\r\n").status, 200);
  EXPECT_EQ(client.get("/metrics", "Authorization: Bearer another-token-of-ours\r\n").status, 200);
}

TEST(BearerTokens, FilesThatHoldNoneAreRefused) {
  dgq::test::ScratchFolder folder;
  const auto read = [&](const std::string& text) {
    const auto file = folder / "tokens";
    EXPECT_TRUE(write_file_atomic(file, std::as_bytes(std::span(text))));
    std::filesystem::permissions(file,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return BearerTokens::read(file);
  };
  EXPECT_TRUE(read("0123456789abcdef"));
  for (const char* text :
       {"", "# nothing\n", "short\n", "0123456789abcdef with spaces\n", "0123456789abcdef\r\n"}) {
    const auto tokens = read(text);
    ASSERT_FALSE(tokens) << text;
    EXPECT_EQ(tokens.error().what.find("0123456789"), std::string::npos);
  }
  EXPECT_EQ(BearerTokens::read(folder / "none").error().code, Errc::not_found);
}

}  // namespace
}  // namespace dgq::agent
