// Who may release models for a registry: every reason to refuse, and what travels.
#include "registry/trust.h"

#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDay = 24 * 3600;

std::int64_t now() { return std::time(nullptr); }

// A builder with two signed versions of model demo (one, two), whose key a device trusts.
class TrustTest : public ExchangeFixture {
 protected:
  TrustTest() : key_(*PrivateKey::generate()), builder_(open()), device_(other()) {
    next_ = *add(builder_, "demo:two", model(2));
    EXPECT_OK(trust_key(device_, key_.public_key(), "release"));
    EXPECT_OK(set_policy(device_, Policy::enforce));
  }
  Result<Claim> sign(const char* name, const SignOptions& options = {}) {
    return sign_version(builder_, name, key_, options);
  }
  Result<BundleSummary> bring(const std::string& name) {
    DGQ_TRY(const std::string bundle, export_text(builder_, {name}));
    return import_text(device_, bundle);
  }
  // What is wrong with using the name, as the device says it; and import, too.
  void expect_refused(const char* name, const std::string& why) {
    expect_clear(resolve_to_use(device_, name).error(), Errc::untrusted, why);
    EXPECT_OK(set_policy(device_, Policy::warn));
    const auto warned = resolve_to_use(device_, name);
    ASSERT_TRUE(warned) << warned.error().what;
    ASSERT_FALSE(warned->warnings.empty());
    EXPECT_NE(warned->warnings.back().find(why), std::string::npos) << warned->warnings.back();
    EXPECT_EQ(warned->counter, 0);
    EXPECT_OK(set_policy(device_, Policy::off));
    EXPECT_TRUE(resolve_to_use(device_, name)->warnings.empty());
    EXPECT_OK(set_policy(device_, Policy::enforce));
  }
  // Into the device whatever its policy says.
  void bring_anyway(const std::string& name) {
    EXPECT_OK(set_policy(device_, Policy::off));
    EXPECT_OK(bring(name));
    EXPECT_OK(set_policy(device_, Policy::enforce));
  }
  std::int64_t device_count(const std::string& sql) {
    return *(*sqlite::Db::open(scratch_ / "other.db", sqlite::Db::Access::read_only, 1000))
                ->integer(sql.c_str());
  }
  void device_sql(const std::string& text) {
    EXPECT_OK((*sqlite::Db::open(scratch_ / "other.db", sqlite::Db::Access::read_write, 1000))
                  ->script(text.c_str()));
  }
  PrivateKey key_;
  Registry builder_, device_;
  Digest next_;
};

TEST_F(TrustTest, SignedVersionsRunAndTheirCountersAreRemembered) {
  EXPECT_EQ(sign("demo:one")->counter, 1);
  EXPECT_EQ(sign("demo:two")->counter, 2);
  EXPECT_EQ(sign("team/demo:two")->counter, 1) << "each model counts for itself";
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(bring("demo:two"));
  const auto used = resolve_to_use(device_, "demo:one");
  ASSERT_TRUE(used) << used.error().what;
  EXPECT_TRUE(used->warnings.empty());
  EXPECT_EQ(used->counter, 1);
  EXPECT_OK(remember_use(device_, *used));
  EXPECT_OK(remember_use(device_, *resolve_to_use(device_, next_.short_hex())));  // by digest as well
  EXPECT_EQ(read_trust(device_)->accepted.at("demo"), 2);
  EXPECT_OK(remember_use(device_, *used));  // what was resolved before
  EXPECT_EQ(read_trust(device_)->accepted.at("demo"), 2) << "never goes down";
  expect_refused("demo:one", "counter 1, but 2 was accepted already");
  expect_no_faults(device_);
}

TEST_F(TrustTest, AReaderRemembersAsWell) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(bring("demo:one"));
  Registry reader = *Registry::open(scratch_ / "other.db", Registry::Mode::read_only);
  EXPECT_OK(remember_use(reader, *resolve_to_use(reader, "demo:one")));
  EXPECT_EQ(read_trust(reader)->accepted.at("demo"), 1);
  EXPECT_EQ(device_count("SELECT count(*) FROM audit WHERE action = 'accept'"), 1);
  EXPECT_OK(remember_use(reader, *resolve_to_use(reader, "demo:one")));
  EXPECT_EQ(device_count("SELECT count(*) FROM audit WHERE action = 'accept'"), 1) << "nothing new";
}

TEST_F(TrustTest, UnsignedIsRefusedBeforeAnythingIsVisible) {
  expect_clear(bring("demo:one").error(), Errc::untrusted, "has no signature");
  EXPECT_TRUE(device_.list()->empty());
  EXPECT_EQ(device_.stats()->blobs, 0u);
  EXPECT_OK(set_policy(device_, Policy::warn));
  const auto warned = bring("demo:one");
  ASSERT_TRUE(warned) << warned.error().what;
  ASSERT_EQ(warned->warnings.size(), 1u);
  EXPECT_NE(warned->warnings[0].find("has no signature"), std::string::npos);
  EXPECT_OK(set_policy(device_, Policy::enforce));
  expect_refused("demo:one", "has no signature");
  expect_clear(device_.tag(one_, *ModelRef::parse("demo:new")).error(), Errc::untrusted, "has no signature");
  // Who makes a version gives it its name first, and signs it then.
  EXPECT_OK(add(device_, "demo:made", model(7)));
  expect_refused("demo:made", "has no signature");
}

TEST_F(TrustTest, KeysThatAreNotTrusted) {
  const PrivateKey stranger = *PrivateKey::generate();
  EXPECT_OK(sign_version(builder_, "demo:one", stranger, {}));
  expect_clear(bring("demo:one").error(), Errc::untrusted,
               stranger.public_key().id() + " is not trusted here");
  bring_anyway("demo:one");
  expect_refused("demo:one", "is not trusted here");
  const Trust trust = *read_trust(device_);
  const auto kept = *signatures_of(device_, trust, one_);
  ASSERT_EQ(kept.size(), 1u) << "kept, for when it is trusted";
  EXPECT_EQ(kept[0].standing, SignatureInfo::Standing::unknown_key);
  EXPECT_EQ(trust.keys.size(), 1u) << "importing never adds a key";
  EXPECT_OK(trust_key(device_, stranger.public_key(), ""));
  EXPECT_OK(resolve_to_use(device_, "demo:one"));
  expect_no_faults(device_);

  EXPECT_OK(revoke_key(device_, stranger.public_key().id()));
  expect_refused("demo:one", "was revoked");
  expect_clear(trust_key(device_, stranger.public_key(), "again").error(), Errc::invalid, "for good");
  expect_clear(revoke_key(device_, "0123456789abcdef").error(), Errc::not_found, "dgq key list");
}

TEST_F(TrustTest, TimesOfASignature) {
  SignOptions later;
  later.not_before_unix_s = now() + 2 * kDay;
  EXPECT_OK(sign("demo:one", later));
  bring_anyway("demo:one");
  expect_refused("demo:one", "and later");
  device_sql("INSERT INTO audit(time, who, tool, action, subject) VALUES (" +
             std::to_string(now() + 3 * kDay) + ", 'x', 'x', 'tag', 'x')");
  EXPECT_OK(resolve_to_use(device_, "demo:one"));  // the registry has seen that day

  SignOptions soon;
  soon.expires_unix_s = now() + kDay;
  EXPECT_OK(sign("demo:two", soon));
  EXPECT_OK(set_policy(builder_, Policy::enforce));
  EXPECT_OK(trust_key(builder_, key_.public_key(), ""));
  EXPECT_OK(resolve_to_use(builder_, "demo:two"));
  bring_anyway("demo:two");
  expect_refused("demo:two", "which is over");

  SignOptions over;
  over.expires_unix_s = now() - 1;
  expect_clear(sign("demo:two", over).error(), Errc::invalid, "over before it begins");
}

TEST_F(TrustTest, AClockThatWasSetBack) {
  SignOptions soon;
  soon.expires_unix_s = now() + 10 * kDay;
  EXPECT_OK(sign("demo:one", soon));
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(resolve_to_use(device_, "demo:one"));
  const auto seen = [&](std::int64_t time) {
    device_sql("INSERT INTO audit(time, who, tool, action, subject) VALUES (" + std::to_string(time) +
               ", 'x', 'x', 'tag', 'x')");
  };
  seen(now() + kDay / 2);
  EXPECT_TRUE(resolve_to_use(device_, "demo:one")->warnings.empty()) << "a time zone";
  seen(now() + 9 * kDay);
  const auto used = resolve_to_use(device_, "demo:one");
  ASSERT_TRUE(used) << used.error().what;
  ASSERT_EQ(used->warnings.size(), 1u);
  EXPECT_NE(used->warnings[0].find("set back"), std::string::npos);
  seen(now() + 11 * kDay);
  expect_refused("demo:one", "which is over");
}

TEST_F(TrustTest, OtherModelNames) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(builder_.tag(one_, *ModelRef::parse("trap:latest")));
  expect_clear(bring("trap").error(), Errc::untrusted, "as model demo, not trap");
  EXPECT_OK(bring("demo:one"));
  expect_clear(device_.tag(one_, *ModelRef::parse("trap")).error(), Errc::untrusted,
               "as model demo, not trap");
  EXPECT_OK(device_.tag(one_, *ModelRef::parse("demo:same")));
  EXPECT_OK(sign_version(builder_, "trap", key_, {}));  // several signatures, one per name
  EXPECT_OK(bring("trap"));
  EXPECT_OK(resolve_to_use(device_, "trap"));
  expect_clear(sign_version(builder_, one_.hex(), key_, {}).error(), Errc::invalid, "one of its names");
}

TEST_F(TrustTest, RollbackNeedsAHigherCounter) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(sign("demo:two"));
  const ModelRef stable = *ModelRef::parse("demo:stable");
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(bring("demo:two"));
  EXPECT_OK(device_.tag(one_, stable));
  EXPECT_OK(device_.tag(next_, stable));
  // Not run yet, but the name has it.
  expect_clear(device_.tag(one_, stable).error(), Errc::untrusted, "older version");
  EXPECT_OK(remember_use(device_, *resolve_to_use(device_, "demo:stable")));
  expect_clear(device_.tag(one_, *ModelRef::parse("demo:new")).error(), Errc::untrusted, "2 was accepted");
  expect_clear(bring("demo:one").error(), Errc::untrusted, "2 was accepted");
  SignOptions low;
  low.counter = 1;
  expect_clear(sign("demo:one", low).error(), Errc::invalid, "below 2");
  EXPECT_EQ(sign("demo:one")->counter, 3);
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(device_.tag(one_, stable));
  EXPECT_EQ(resolve_to_use(device_, "demo:stable")->counter, 3);
}

// A renamed model is as far as it was; a copy is another model, which wants signatures of its own.
TEST_F(TrustTest, CountersGoWithARename) {
  SignOptions seven;
  seven.counter = 7;
  EXPECT_OK(sign("demo:one", seven));
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(remember_use(device_, *resolve_to_use(device_, "demo:one")));
  EXPECT_OK(set_policy(device_, Policy::off));
  EXPECT_OK(device_.copy("demo:one", "demo:spare"));
  EXPECT_OK(device_.copy("demo", "copied"));
  EXPECT_EQ(read_trust(device_)->accepted.count("copied"), 0u);
  EXPECT_OK(device_.rename("demo:spare", "part:spare"));
  EXPECT_EQ(read_trust(device_)->accepted.count("part"), 0u) << "demo is still there";
  EXPECT_OK(device_.rename("demo", "story"));
  EXPECT_EQ(read_trust(device_)->accepted.at("story"), 7);
  EXPECT_EQ(read_trust(device_)->accepted.at("demo"), 7) << "who comes again as demo is older as well";
  EXPECT_EQ(device_count("SELECT count(*) FROM audit WHERE action = 'accept'"), 2);

  // An old release under the new name, signed for it.
  EXPECT_OK(builder_.tag(next_, *ModelRef::parse("story:old")));
  EXPECT_OK(sign("story:old"));
  EXPECT_OK(set_policy(device_, Policy::enforce));
  expect_clear(bring("story:old").error(), Errc::untrusted, "counter 1, but 7 was accepted");

  // The higher one of both stays.
  device_sql("INSERT INTO accepted(model, counter) VALUES ('far', 9)");
  EXPECT_OK(set_policy(device_, Policy::off));
  EXPECT_OK(device_.rename("story", "far"));
  EXPECT_EQ(read_trust(device_)->accepted.at("far"), 9);
}

TEST_F(TrustTest, NamesUnderThePolicyWarn) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(sign("demo:two"));
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(bring("demo:two"));
  EXPECT_OK(set_policy(device_, Policy::warn));
  EXPECT_EQ(*device_.tag(next_, *ModelRef::parse("demo:stable")), "");
  EXPECT_NE(device_.tag(one_, *ModelRef::parse("demo:stable"))->find("an older version"), std::string::npos);
  EXPECT_EQ(*device_.tag(one_, *ModelRef::parse("demo:stable")), "") << "it is that already";
  EXPECT_NE(device_.copy("demo:one", "trap")->front().warning.find("not trap"), std::string::npos);
  EXPECT_NE(device_.rename("trap", "trick")->front().warning.find("not trick"), std::string::npos);
  EXPECT_OK(set_policy(device_, Policy::off));
  EXPECT_EQ(device_.copy("demo:one", "trap")->front().warning, "");
}

TEST_F(TrustTest, CountersOfStrangersDoNotCount) {
  SignOptions highest;
  highest.counter = kMaxCounter;
  EXPECT_OK(sign_version(builder_, "demo:two", *PrivateKey::generate(), highest));
  EXPECT_EQ(sign("demo:one")->counter, 1);
  highest.counter = kMaxCounter + 1;
  expect_clear(sign("demo:one", highest).error(), Errc::invalid, "counter must be");
}

TEST_F(TrustTest, SignaturesTravelInBundlesAndLayouts) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(sign_version(builder_, "demo:one", *PrivateKey::generate(), {}));
  EXPECT_OK(bring("demo:one"));
  const auto at_home = *signatures_of(builder_, {}, one_), there = *signatures_of(device_, {}, one_);
  ASSERT_EQ(there.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(there[i].signature.claim.text(), at_home[i].signature.claim.text());
    EXPECT_EQ(there[i].signature.bytes, at_home[i].signature.bytes);
  }
  EXPECT_EQ(*export_text(device_, {"demo:one"}), *export_text(builder_, {"demo:one"}));
  EXPECT_OK(bring("demo:one"));  // again: nothing new
  EXPECT_EQ(signatures_of(device_, {}, one_)->size(), 2u);
  EXPECT_EQ(device_count("SELECT count(*) FROM audit WHERE action = 'signature'"), 2);

  EXPECT_OK(builder_.export_oci({"demo:one"}, scratch_ / "layout"));
  Registry third = other("third.db");
  EXPECT_OK(third.import_oci(scratch_ / "layout", {}));
  EXPECT_EQ(signatures_of(third, {}, one_)->size(), 2u);
  EXPECT_OK(set_policy(third, Policy::enforce));
  EXPECT_FALSE(resolve_to_use(third, "demo:one"));
  EXPECT_OK(trust_key(third, key_.public_key(), ""));
  EXPECT_OK(resolve_to_use(third, "demo:one"));
  expect_clear(third.import_oci(scratch_ / "layout", *ModelRef::parse("other")).error(), Errc::untrusted,
               "as model demo, not other");

  // A signature alone, for a version that is there.
  EXPECT_OK(sign("demo:one"));
  const auto only = import_text(device_, *export_text(builder_, {"demo:one"}, "demo:one"));
  ASSERT_TRUE(only) << only.error().what;
  EXPECT_EQ(only->blobs, 0u);
  EXPECT_EQ(resolve_to_use(device_, "demo:one")->counter, 2);
}

TEST_F(TrustTest, ForgedSignaturesAreRefusedUnderAnyPolicy) {
  EXPECT_OK(sign("demo:one"));
  const std::string statement = (*signatures_of(builder_, {}, one_))[0].signature.claim.text();
  std::string higher = statement;
  higher.replace(higher.find("counter 1"), 9, "counter 9");
  sql("UPDATE signature SET statement = '" + higher + "'");
  EXPECT_OK(set_policy(device_, Policy::off));
  expect_clear(bring("demo:one").error(), Errc::corrupt, "forged");
  EXPECT_TRUE(device_.list()->empty());
  EXPECT_EQ(device_count("SELECT count(*) FROM signature"), 0);
  EXPECT_OK(builder_.export_oci({"demo:one"}, scratch_ / "layout"));
  expect_clear(device_.import_oci(scratch_ / "layout", {}).error(), Errc::corrupt, "forged");

  // By someone who can write the registry itself.
  sql("UPDATE signature SET statement = '" + statement + "'");
  EXPECT_OK(bring("demo:one"));
  device_sql("UPDATE signature SET statement = '" + higher + "'");
  EXPECT_OK(set_policy(device_, Policy::enforce));
  expect_refused("demo:one", "did not make this signature");
  const auto report = device_.verify();
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_NE(report->faults[0].find("is not by key"), std::string::npos) << report->faults[0];
}

TEST_F(TrustTest, SignaturesOfOneVersionAreNoneOfAnother) {
  EXPECT_OK(sign("demo:one"));
  sql("UPDATE signature SET version = (SELECT version FROM tag WHERE tag = 'two' AND model = 'demo')");
  EXPECT_OK(set_policy(builder_, Policy::enforce));
  EXPECT_OK(trust_key(builder_, key_.public_key(), ""));
  expect_clear(resolve_to_use(builder_, "demo:two").error(), Errc::corrupt, "not of this version");
  EXPECT_EQ(builder_.verify()->faults.size(), 1u);
  // An altered manifest is another version, before any signature is looked at.
  sql("DROP TRIGGER version_is_fixed; UPDATE version SET manifest = replace(manifest, '64', '65')");
  expect_clear(resolve_to_use(builder_, "demo:one").error(), Errc::corrupt, "does not match its digest");
}

TEST_F(TrustTest, EveryChangeLeavesAnAuditRow) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(bring("demo:one"));
  EXPECT_OK(remember_use(device_, *resolve_to_use(device_, "demo:one")));
  EXPECT_OK(revoke_key(device_, key_.public_key().id()));
  for (const char* action : {"trust", "policy", "signature", "accept", "revoke"})
    EXPECT_EQ(device_count("SELECT count(*) FROM audit WHERE action = '" + std::string(action) + "'"), 1)
        << action;
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'sign'"), 1u);
}

TEST_F(TrustTest, GcTakesSignaturesWithTheirVersion) {
  EXPECT_OK(sign("demo:one"));
  EXPECT_OK(builder_.remove(*ModelRef::parse("demo:one")));
  EXPECT_OK(builder_.gc());
  EXPECT_EQ(sql_integer("SELECT count(*) FROM signature"), 0u);
  expect_no_faults(builder_);
}

TEST_F(TrustTest, RegistryOfTheSchemaBeforeIsMigrated) {
  sql(std::string(kBeforeSignatures) + "PRAGMA user_version = 2");
  Registry registry = open();
  EXPECT_EQ(read_trust(registry)->policy, Policy::off);
  EXPECT_OK(sign_version(registry, "demo:one", key_, {}));
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'migrate'"), 1u);
  expect_no_faults(registry);
}

TEST_F(TrustTest, NamesOfKeysAndLimits) {
  expect_clear(trust_key(device_, key_.public_key(), "two\nlines").error(), Errc::invalid, "one line");
  expect_clear(trust_key(device_, key_.public_key(), std::string(200, 'x')).error(), Errc::invalid, "128");
  EXPECT_EQ(trust_key(device_, key_.public_key(), "")->name, "release") << "kept";
  EXPECT_EQ(trust_key(device_, key_.public_key(), "fleet")->name, "fleet");
  for (std::size_t i = 0; i < kMaxSignatures; ++i) EXPECT_OK(sign("demo:one"));
  expect_clear(sign("demo:one").error(), Errc::invalid, "more than 64");
  Registry reader = open(Registry::Mode::read_only);
  expect_clear(sign_version(reader, "demo:one", key_, {}).error(), Errc::invalid, "reading only");
  expect_clear(set_policy(reader, Policy::warn).error(), Errc::invalid, "reading only");
}

}  // namespace
}  // namespace dgq::test
