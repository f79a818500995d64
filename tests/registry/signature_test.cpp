// Ed25519 keys as files, and the bytes that a signature is over.
#include "registry/signature.h"

#include <sys/stat.h>

#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

std::string unhex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

template <class Array>
Array array_of(const std::string& digits) {
  Array array;
  std::memcpy(array.data(), unhex(digits).data(), array.size());
  return array;
}

Claim claim() {
  return {sha256("manifest"), "team/demo", 7, 1'800'000'000, 1'900'000'000, "0123456789abcdef"};
}

class SignatureTest : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    std::ofstream(scratch_ / name) << text;
    ::chmod((scratch_ / name).c_str(), mode);
    return scratch_ / name;
  }
  fs::path new_key(const std::string& name) {
    EXPECT_OK(PrivateKey::generate()->write_new(scratch_ / name));
    return scratch_ / name;
  }
  ScratchFolder scratch_;
};

// RFC 8032, 7.1, tests 1 to 3.
TEST_F(SignatureTest, VectorsOfTheStandard) {
  struct Vector {
    const char *key, *message, *signature;
  };
  const Vector vectors[] = {
      {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf"
       "5f0595"
       "bbe24655141438e7a100b"},
      {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2"
       "eaeb43"
       "02aeeb00d291612bb0c00"},
      {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c1"
       "5e9716"
       "ed28dc027beceea1ec40a"},
  };
  for (const Vector& vector : vectors) {
    const PublicKey key{array_of<decltype(PublicKey::bytes)>(vector.key)};
    auto signature = array_of<SignatureBytes>(vector.signature);
    EXPECT_TRUE(key.verify(unhex(vector.message), signature)) << vector.key;
    EXPECT_FALSE(key.verify(unhex(vector.message) + "x", signature));
    signature[5] ^= std::byte{1};
    EXPECT_FALSE(key.verify(unhex(vector.message), signature));
  }
}

TEST_F(SignatureTest, KeysComeBackFromTheirFiles) {
  const fs::path file = new_key("a.key");
  struct stat info;
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto key = PrivateKey::read(file);
  ASSERT_TRUE(key) << key.error().what;
  const auto known = PublicKey::read(file.string() + ".pub");
  ASSERT_TRUE(known) << known.error().what;
  EXPECT_EQ(known->bytes, key->public_key().bytes);
  EXPECT_EQ(known->id(), sha256(known->bytes).hex().substr(0, 16));
  EXPECT_TRUE(known->verify("text", *key->sign("text")));
  EXPECT_FALSE(known->verify("text", *PrivateKey::generate()->sign("text")));
}

TEST_F(SignatureTest, KeysAreNeverWrittenOver) {
  const fs::path file = new_key("a.key");
  const std::string before = file_text(file);
  expect_clear(PrivateKey::generate()->write_new(file).error(), Errc::invalid, "there already");
  fs::remove(file.string() + ".pub");
  expect_clear(PrivateKey::generate()->write_new(file).error(), Errc::invalid, "there already");
  EXPECT_EQ(file_text(file), before);
  EXPECT_FALSE(fs::exists(file.string() + ".pub")) << "no half of a pair stays";
}

TEST_F(SignatureTest, KeyFilesThatAreRefused) {
  const fs::path key = new_key("a.key");
  for (const mode_t mode : {0640, 0604, 0620, 0644}) {
    ::chmod(key.c_str(), mode);
    expect_clear(PrivateKey::read(key).error(), Errc::invalid, "chmod 600");
  }
  ::chmod(key.c_str(), 0600);
  EXPECT_OK(PrivateKey::read(key));
  expect_clear(PublicKey::read(key).error(), Errc::invalid, "private key");
  expect_clear(PrivateKey::read(key.string() + ".pub").error(), Errc::invalid, "no private key");
  expect_clear(PublicKey::read(scratch_ / "none").error(), Errc::not_found, "none");
  expect_clear(PublicKey::read(scratch_.path()).error(), Errc::invalid, "not a file");

  const std::string pem = file_text(key), open = file_text(key.string() + ".pub");
  const std::string cut = pem.substr(0, pem.size() / 2), other = std::string(pem).replace(40, 8, "AAAAAAAA");
  for (const std::string& text :
       {std::string(), std::string("garbage"), std::string(5000, '\0'), open.substr(30)})
    expect_clear(PublicKey::read(write("bad.pub", text)).error(), Errc::invalid, "not a public key");
  for (const std::string& text : {cut, other, std::string("-----BEGIN PRIVATE KEY-----\n")})
    expect_clear(PrivateKey::read(write("bad.key", text)).error(), Errc::invalid, "bad.key");
  expect_clear(PublicKey::read(write("large.pub", open + std::string(20'000, 'x'))).error(), Errc::invalid,
               "16 KiB");
  expect_clear(PublicKey::read(write("both.pub", open + pem)).error(), Errc::invalid, "private key");
}

TEST_F(SignatureTest, ReadsAndIsReadByOpenssl) {
  if (run_shell("command -v openssl").exit_code != 0) {
    not_covered("keys of the openssl command (not installed)");
    GTEST_SKIP();
  }
  const auto shell = [&](const std::string& line) {
    const Outcome outcome = run_shell("cd " + scratch_.path().string() + " && umask 077 && " + line);
    EXPECT_EQ(outcome.exit_code, 0) << line << ": " << outcome.err;
    return outcome.out;
  };
  new_key("ours.key");
  EXPECT_EQ(shell("openssl pkey -in ours.key -pubout"), file_text(scratch_ / "ours.key.pub"));
  EXPECT_NE(shell("openssl pkey -in ours.key -noout -text").find("ED25519"), std::string::npos);

  shell(
      "openssl genpkey -algorithm ed25519 -out theirs.key && openssl pkey -in theirs.key -pubout -out "
      "theirs.pub");
  const auto theirs = PrivateKey::read(scratch_ / "theirs.key");
  ASSERT_TRUE(theirs) << theirs.error().what;
  EXPECT_EQ(PublicKey::read(scratch_ / "theirs.pub")->bytes, theirs->public_key().bytes);

  // A signature of ours, checked by theirs over the text as stored.
  const Signature signature = *Signature::make(claim(), *PrivateKey::read(scratch_ / "ours.key"));
  write("text", signature.claim.text());
  write("signature", std::string(reinterpret_cast<const char*>(signature.bytes.data()), 64));
  shell("openssl pkeyutl -verify -rawin -pubin -inkey ours.key.pub -in text -sigfile signature");

  shell(
      "openssl genpkey -algorithm RSA -out rsa.key 2>/dev/null && openssl pkey -in rsa.key -pubout -out "
      "rsa.pub");
  expect_clear(PrivateKey::read(scratch_ / "rsa.key").error(), Errc::invalid, "not an Ed25519 key");
  expect_clear(PublicKey::read(scratch_ / "rsa.pub").error(), Errc::invalid, "not an Ed25519 key");
  shell("openssl genpkey -algorithm ed25519 -aes256 -pass pass:x -out locked.key");
  expect_clear(PrivateKey::read(scratch_ / "locked.key").error(), Errc::unsupported, "passphrase");
}

TEST_F(SignatureTest, WhatIsSignedToTheByte) {
  const std::string text = "dgq signature 1\nversion " + sha256("manifest").hex() +
                           "\nmodel team/demo\ncounter 7\nnot-before 1800000000\nexpires 1900000000\n"
                           "key 0123456789abcdef\n";
  EXPECT_EQ(claim().text(), text);
  const auto parsed = Claim::parse(text, "test");
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(parsed->text(), text);
  Claim forever = claim();
  forever.expires_unix_s.reset();
  EXPECT_EQ(Claim::parse(forever.text(), "test")->expires_unix_s, std::nullopt);
}

TEST_F(SignatureTest, OtherSpellingsAreRefused) {
  const std::string good = claim().text();
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& text :
       {std::string(),
        good + "\n",
        good.substr(0, good.size() - 1),
        " " + good,
        changed("counter 7", "counter 07"),
        changed("counter 7", "counter +7"),
        changed("counter 7", "counter 0"),
        changed("counter 7", "counter -7"),
        changed("counter 7", "counter 1000000000000000"),
        changed("counter 7", "counter 99999999999999999999"),
        changed("1800000000", "-1"),
        changed("1900000000", "Never"),
        changed("1900000000", "999999999999"),
        changed("team/demo", "team/demo:latest"),
        changed("team/demo", "../demo"),
        changed("team/demo", ""),
        changed("key 0", "key A"),
        changed("key 0", "key "),
        changed("model ", "model  "),
        changed("\nmodel", "\r\nmodel"),
        changed("signature 1", "signature"),
        changed("version " + sha256("manifest").hex(), "version " + sha256("manifest").hex().substr(1))})
    expect_clear(Claim::parse(text, "test").error(), Errc::corrupt, "test: not a signature");
  expect_clear(Claim::parse(changed("signature 1", "signature 2"), "test").error(), Errc::unsupported,
               "upgrade");
}

TEST_F(SignatureTest, ListsOfSignatures) {
  const PrivateKey key = *PrivateKey::generate();
  const Signature signature = *Signature::make(claim(), key);
  const Digest version = claim().version;
  const Json list = signatures_json({signature, signature});
  const auto parsed = parse_signatures(list, version, "test");
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(parsed->size(), 2u);
  EXPECT_EQ(parsed->front().bytes, signature.bytes);
  EXPECT_TRUE(key.public_key().verify(parsed->back().claim.text(), parsed->back().bytes));

  expect_clear(parse_signatures(list, sha256("other"), "test").error(), Errc::corrupt, "another version");
  expect_clear(parse_signatures(Json::object(), version, "test").error(), Errc::corrupt, "array");
  expect_clear(parse_signatures(Json(65, list[0]), version, "test").error(), Errc::corrupt, "at most 64");
  expect_clear(parse_signatures({1}, version, "test").error(), Errc::corrupt, "object");
  Json bad = list;
  bad[1]["signature"] = std::string(127, '0');
  expect_clear(parse_signatures(bad, version, "test").error(), Errc::corrupt, "signature 1");
  bad[1]["signature"] = std::string(129, '0');
  expect_clear(parse_signatures(bad, version, "test").error(), Errc::corrupt, "128 hex digits");
  bad[1].erase("statement");
  expect_clear(parse_signatures(bad, version, "test").error(), Errc::corrupt, "statement");
}

}  // namespace
}  // namespace dgq::test
