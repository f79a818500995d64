#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "kernels/table.h"
#include "tests/kernels/guarded.h"
#include "tests/support/command.h"

namespace dgq {
namespace {

constexpr bool kX86 = std::string_view(kArchitecture) == "x86-64";

template <class Row>
void expect_ref_last_and_alone(std::span<const Row> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].needs == 0, i + 1 == rows.size()) << rows[i].isa;
    EXPECT_EQ(std::string_view(rows[i].isa) == "ref", i + 1 == rows.size()) << rows[i].isa;
  }
}

TEST(Table, EndsWithRefWhichNeedsNothing) {
  expect_ref_last_and_alone(gemm_w4a8_kernels());
  expect_ref_last_and_alone(gemm_w6a8_kernels());
  expect_ref_last_and_alone(gemm_w8a8_kernels());
  expect_ref_last_and_alone(quantize_rows_kernels());
  expect_ref_last_and_alone(gemm_f32_kernels());
  expect_ref_last_and_alone(float_ops_kernels());
  expect_ref_last_and_alone(attention_f16_kernels());
}

TEST(Select, RefMeansRefEverywhere) {
  const Kernels kernels = *select_kernels("ref");
  EXPECT_EQ(kernels.isa, "ref");
  EXPECT_EQ(kernels.gemm_w4a8, &gemm_w4a8_kernels().back());
  EXPECT_EQ(kernels.gemm_w6a8, &gemm_w6a8_kernels().back());
  EXPECT_EQ(kernels.gemm_w8a8, &gemm_w8a8_kernels().back());
  EXPECT_EQ(kernels.quantize_rows, &quantize_rows_kernels().back());
  EXPECT_EQ(kernels.gemm_f32, &gemm_f32_kernels().back());
  EXPECT_EQ(kernels.attention_f16, &attention_f16_kernels().back());
}

TEST(Select, EmptyMeansTheFirstRowThatRunsAndIsMadeForThisCpu) {
  const Kernels kernels = *select_kernels("");
  const auto rows = test::runnable(gemm_w4a8_kernels(), "gemm_w4a8");
  EXPECT_EQ(kernels.gemm_w4a8,
            *std::find_if(rows.begin(), rows.end(), [](const auto* row) { return made_for_this_cpu(*row); }));
  EXPECT_EQ(kernels.gemm_f32, test::runnable(gemm_f32_kernels(), "gemm_f32").front());
  EXPECT_EQ(kernels.isa, kernels.gemm_w4a8->isa);
}

// Each name of the W4A8 table: that row where the CPU has it, else an error that says what is missing.
TEST(Select, NameForcesItsRow) {
  for (const GemmW4A8Kernel& row : gemm_w4a8_kernels()) {
    const Features missing = row.needs & ~cpu_features();
    const auto kernels = select_kernels(row.isa);
    ASSERT_EQ(kernels.has_value(), missing == 0) << row.isa;
    if (kernels) {
      EXPECT_STREQ(kernels->gemm_w4a8->isa, row.isa);
      EXPECT_TRUE(made_for_this_cpu(*kernels->gemm_w4a8));
      EXPECT_STREQ(kernels->gemm_w6a8->isa, row.isa);
      EXPECT_EQ(kernels->isa, row.isa);
      continue;
    }
    EXPECT_EQ(kernels.error().code, Errc::unsupported);
    EXPECT_NE(kernels.error().what.find("need " + feature_names(missing) + ", which this CPU lacks"),
              std::string::npos)
        << kernels.error().what;
  }
}

TEST(Select, NameOfOneTableLeavesOthersTheirNextBest) {
  if (kX86) GTEST_SKIP() << "every name of x86-64 is in every table";
  const auto kernels = select_kernels("neon_dot");
  if (!kernels) return test::not_covered("select_kernels: " + kernels.error().what);
  EXPECT_EQ(kernels->isa, "neon_dot");
  EXPECT_STREQ(kernels->gemm_f32->isa, "neon");
}

constexpr const char* kIsas =
    kX86 ? "amx_int8, avx512vnni, avxvnni, avx2, ref" : "neon_i8mm, neon_dot, neon, ref";

TEST(Select, UnknownNameListsThoseThereAre) {
  for (const char* name : {"avx3", "REF", "avx2 ", "neon_i9mm"}) {
    const auto kernels = select_kernels(name);
    ASSERT_FALSE(kernels) << name;
    EXPECT_EQ(kernels.error().code, Errc::invalid);
    EXPECT_EQ(kernels.error().what, std::string("no kernel is called '") + name + "' (DGQ_ISA; on " +
                                        kArchitecture + " there are: " + kIsas + ")");
  }
}

TEST(Select, NameOfAnotherArchitectureSaysWhich) {
  const std::string name = kX86 ? "neon_i8mm" : "avx2";
  const auto kernels = select_kernels(name);
  ASSERT_FALSE(kernels);
  EXPECT_EQ(kernels.error().code, Errc::invalid);
  EXPECT_EQ(kernels.error().what, "'" + name + "' kernels are for " + (kX86 ? "aarch64" : "x86-64") +
                                      " only (DGQ_ISA; on " + kArchitecture + " there are: " + kIsas + ")");
}

// What is made for some CPUs stands before a row of the same name and needs that every CPU may take.
template <class Row>
void expect_rows_for_the_others(std::span<const Row> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].made_for == 0) continue;
    ASSERT_LT(i + 1, rows.size());
    EXPECT_STREQ(rows[i + 1].isa, rows[i].isa);
    EXPECT_EQ(rows[i + 1].needs, rows[i].needs);
    EXPECT_EQ(rows[i + 1].made_for, 0u);
  }
}

TEST(Table, RowsMadeForSomeCpusHaveOneForTheOthers) {
  expect_rows_for_the_others(gemm_w4a8_kernels());
  expect_rows_for_the_others(gemm_w6a8_kernels());
  expect_rows_for_the_others(gemm_w8a8_kernels());
}

TEST(Select, ReadsTheEnvironment) {
  ::setenv("DGQ_ISA", "ref", 1);
  EXPECT_EQ(select_kernels_from_environment()->isa, "ref");
  ::setenv("DGQ_ISA", "nothing", 1);
  EXPECT_FALSE(select_kernels_from_environment());
  ::setenv("DGQ_ISA", "", 1);
  EXPECT_EQ(select_kernels_from_environment()->isa, select_kernels("")->isa);
  ::unsetenv("DGQ_ISA");
  EXPECT_EQ(select_kernels_from_environment()->isa, select_kernels("")->isa);
}

TEST(Listing, HasEveryRowAndOneChoicePerOperation) {
  const Kernels best = *select_kernels(""), forced = *select_kernels("ref");
  for (const Kernels& kernels : {best, forced}) {
    std::multiset<std::string> chosen;
    const auto listing = list_kernels(kernels);
    EXPECT_EQ(listing.size(), gemm_w4a8_kernels().size() + gemm_w6a8_kernels().size() +
                                  gemm_w8a8_kernels().size() + quantize_rows_kernels().size() +
                                  gemm_f32_kernels().size() + float_ops_kernels().size() +
                                  attention_f16_kernels().size());
    for (const KernelListing& row : listing) {
      EXPECT_FALSE(row.reason.empty());
      EXPECT_EQ(row.runnable, (row.needs & ~cpu_features()) == 0);
      EXPECT_EQ(row.reason.starts_with("needs "), !row.runnable);
      if (row.chosen) chosen.insert(row.operation);
      if (row.runnable && (row.chosen || (row.made_for & ~cpu_features()))) {
        EXPECT_EQ(row.made_for != 0, row.reason.find(feature_names(row.made_for)) != std::string::npos)
            << row.isa << ": " << row.reason;  // or rows of one name could not be told apart
      }
    }
    EXPECT_EQ(chosen, (std::multiset<std::string>{"attention_f16", "float_ops", "gemm_f32", "gemm_w4a8",
                                                  "gemm_w6a8", "gemm_w8a8", "quantize_rows"}));
  }
}

TEST(Listing, SaysWhenAChoiceIsForced) {
  const bool best = select_kernels("")->isa == "ref";  // a CPU on which no other W4A8 row runs
  for (const KernelListing& row : list_kernels(*select_kernels("ref"))) {
    EXPECT_EQ(row.chosen, row.isa == "ref");
    if (row.chosen && row.operation == "gemm_w4a8") {
      EXPECT_EQ(row.reason, best ? "first row made for this CPU" : "forced by DGQ_ISA");
    }
  }
}

TEST(KernelsCommand, ListsRowsAndRefusesUnknownNames) {
  const test::Outcome table = test::run_dgq("kernels");
  EXPECT_EQ(table.exit_code, 0) << table.err;
  for (const char* word :
       {"gemm_w4a8", "gemm_w6a8", "gemm_w8a8", "quantize_rows", "gemm_f32", "ref", "features"})
    EXPECT_NE(table.out.find(word), std::string::npos) << word;
  const test::Outcome json = test::run_dgq("kernels --json");
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_EQ(json.out.find("{\n"), 0u);
  EXPECT_NE(json.out.find("\"isa\": \"" + select_kernels("")->isa + "\""), std::string::npos);
  const test::Outcome bad = test::run_shell("DGQ_ISA=avx3 " + test::dgq_command() + " kernels");
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_TRUE(bad.out.empty());
  EXPECT_EQ(bad.err.find("dgq kernels: no kernel is called 'avx3'"), 0u) << bad.err;
}

}  // namespace
}  // namespace dgq
