// 10,000 versions: the work of SQLite for what people ask most, counted in steps of its virtual machine, since times are not
// the same twice.
#include <sqlite3.h>

#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

std::int64_t steps = 0;

int count_steps(unsigned, void*, void* statement, void*) {
  steps += sqlite3_stmt_status(static_cast<sqlite3_stmt*>(statement), SQLITE_STMTSTATUS_VM_STEP, 1);
  return 0;
}

int watch(sqlite3* db, char**, const struct sqlite3_api_routines*) {
  return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, count_steps, nullptr);
}

class ManyVersionsTest : public RegistryFixture {
 protected:
  void SetUp() override { sqlite3_auto_extension(reinterpret_cast<void (*)()>(watch)); }
  void TearDown() override { sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(watch)); }

  // Versions of 12 blobs, 6 of them shared by 10 versions, one name each, 5 audit rows each. No chunks: they are not asked.
  void grow(int from, int to) {
    const std::string range = "WITH RECURSIVE i(n) AS (SELECT " + std::to_string(from) +
                              " UNION ALL SELECT n + 1 FROM i WHERE n + 1 < " + std::to_string(to) + ")";
    const std::string digest = "CAST(printf('%032d', ";
    sql("BEGIN;" + range + "INSERT INTO version(id, digest, manifest, created) SELECT 1000 + n, " + digest +
        "n) AS BLOB), '{}', n FROM i;" + range +
        "INSERT INTO tag(model, tag, version, updated) SELECT 'm' || (n / 100), 't' || n, 1000 + n, n FROM "
        "i;" +
        range +
        ", b(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM b WHERE k < 12) INSERT OR IGNORE INTO blob(id, "
        "digest, bytes, stored_bytes) "
        "SELECT 1000 + 12 * (CASE WHEN k > 6 THEN n / 10 * 10 ELSE n END) + k, " +
        digest +
        "1000000 + 12 * (CASE WHEN k > 6 THEN n / 10 * 10 ELSE n END) + k) AS BLOB), 100, 90 FROM i, b;" +
        range +
        ", b(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM b WHERE k < 12) INSERT INTO version_blob(version, "
        "blob) "
        "SELECT 1000 + n, 1000 + 12 * (CASE WHEN k > 6 THEN n / 10 * 10 ELSE n END) + k FROM i, b;" +
        range +
        ", b(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM b WHERE k < 5) INSERT INTO audit(time, who, tool, "
        "action, subject, "
        "to_digest) SELECT n, 'me@here', 'dgq', CASE k WHEN 1 THEN 'add' ELSE 'source' END, CASE k WHEN 1 "
        "THEN 'm' || (n / 100) "
        "|| ':t' || n ELSE 'file' END, " +
        digest + "n) AS BLOB) FROM i, b; COMMIT");
  }

  template <class Ask>
  std::int64_t steps_of(const Ask& ask) {
    steps = 0;
    const auto answer = ask();
    EXPECT_TRUE(answer) << answer.error().what;
    return steps;
  }
};

TEST_F(ManyVersionsTest, WorkGrowsNoFasterThanTheRegistry) {
  Registry registry = open();
  const Digest digest = *add(registry, "demo", model(1));
  struct Question {
    const char* name;
    std::function<std::int64_t()> ask;
    double growth;  // at most, from 1000 versions to 10,000
  };
  const Question questions[] = {
      {"list", [&] { return steps_of([&] { return registry.list(); }); }, 10.5},
      {"stats of list", [&] { return steps_of([&] { return registry.stats(); }); }, 10.5},
      {"usage", [&] { return steps_of([&] { return registry.usage(); }); }, 10.5},
      {"log", [&] { return steps_of([&] { return registry.log({}); }); }, 10.5},
      {"log of a name", [&] { return steps_of([&] { return registry.log({.name = "demo"}); }); }, 10.5},
      {"newest of the log", [&] { return steps_of([&] { return registry.log({.limit = 10}); }); }, 1.2},
      {"resolve", [&] { return steps_of([&] { return registry.resolve("demo"); }); }, 1.2},
      {"resolve a digest", [&] { return steps_of([&] { return registry.resolve(digest.short_hex()); }); },
       1.1},
      {"blobs of a version", [&] { return steps_of([&] { return registry.blob_uses(digest); }); }, 1.2},
      {"copy", [&] { return steps_of([&] { return registry.copy("demo", "copy"); }); }, 1.2},
  };
  grow(0, 1000);
  std::vector<std::int64_t> before;
  for (const Question& question : questions) before.push_back(question.ask());
  grow(1000, 10'000);
  EXPECT_EQ(registry.list()->size(), 10'002u);
  for (std::size_t i = 0; i < std::size(questions); ++i) {
    const std::int64_t after = questions[i].ask();
    std::printf("%-20s %9lld steps\n", questions[i].name, static_cast<long long>(after));
    EXPECT_GT(before[i], 0) << questions[i].name;
    EXPECT_LE(static_cast<double>(after), questions[i].growth * static_cast<double>(before[i]))
        << questions[i].name;
  }
  // 100 ms at 25 ns a step.
  EXPECT_LE(questions[0].ask() + questions[1].ask(), 4'000'000) << "list";
}

}  // namespace
}  // namespace dgq::test
