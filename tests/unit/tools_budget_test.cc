// The DRAM budget: the user's word, the default, and what is warned of or refused.
#include "tools/budget.h"

#include <gtest/gtest.h>

#include "tools/console.h"

namespace ebb::tools {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20, kGiB = uint64_t{1} << 30;

MemoryFacts machine(uint64_t usable, uint64_t available) {
  MemoryFacts facts;
  facts.machine = facts.usable = Bytes{usable};
  facts.available = Bytes{available};
  return facts;
}

std::string refusal(const std::string& text, const MemoryFacts& memory = machine(16 * kGiB, 8 * kGiB)) {
  try {
    choose_budget(text, "--dram", memory, {}, 0);
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code(), kExitOurs);
    return failure.what();
  }
  return "";
}

TEST(BudgetTest, TakesTheUsersWord) {
  const auto budget = choose_budget("2G", "--dram", machine(16 * kGiB, 8 * kGiB), {}, 0);
  EXPECT_EQ(budget.bytes.count, 2 * kGiB);
  EXPECT_EQ(budget.source, "--dram");
  EXPECT_TRUE(budget.warnings.empty());
}

TEST(BudgetTest, PercentIsOfUsableMemory) {
  EXPECT_EQ(choose_budget("25%", "--dram", machine(16 * kGiB, 8 * kGiB), {}, 0).bytes.count, 4 * kGiB);
}

TEST(BudgetTest, RefusesWithTheOptionAndTheHint) {
  EXPECT_NE(refusal("8").find("--dram: '8' has no unit"), std::string::npos);
  EXPECT_NE(refusal("31M").find("too small"), std::string::npos);
  EXPECT_NE(refusal("1%", machine(kGiB, kGiB)).find("too small"), std::string::npos);
  EXPECT_EQ(refusal("32M"), "");
}

TEST(BudgetTest, DefaultIsAShareOfWhatIsAvailable) {
  const auto budget = choose_budget({}, "", machine(16 * kGiB, 10 * kGiB), {}, 0);
  EXPECT_EQ(budget.bytes.count, 8 * kGiB);
  EXPECT_EQ(budget.source, "default");
}

TEST(BudgetTest, DefaultsOfFiveJobsAddUpToLessThanThereIs) {
  const auto memory = machine(100 * kGiB, 100 * kGiB);
  Bytes promised{};
  for (unsigned jobs = 0; jobs < 5; ++jobs) {
    const Bytes bytes = choose_budget({}, "", memory, promised, jobs).bytes;
    EXPECT_GE(bytes, kSmallestBudget);
    promised += bytes;
  }
  EXPECT_LE(promised, memory.available);
}

TEST(BudgetTest, RefusesADefaultWhenAllIsPromised) {
  EXPECT_THROW(choose_budget({}, "", machine(16 * kGiB, kGiB), Bytes{kGiB}, 2), Failure);
  EXPECT_THROW(choose_budget({}, "", machine(16 * kGiB, 20 * kMiB), {}, 0), Failure);
}

TEST(BudgetTest, WarnsOfMoreThanThereIs) {
  EXPECT_EQ(choose_budget("9G", "--dram", machine(16 * kGiB, 8 * kGiB), {}, 0).warnings.size(), 1u);
  EXPECT_EQ(choose_budget("17G", "--dram", machine(16 * kGiB, 8 * kGiB), {}, 0).warnings.size(), 1u);
  EXPECT_EQ(choose_budget("4G", "--dram", machine(16 * kGiB, 8 * kGiB), Bytes{5 * kGiB}, 1).warnings.size(), 1u);
  EXPECT_EQ(choose_budget("2G", "--dram", machine(16 * kGiB, 8 * kGiB), Bytes{5 * kGiB}, 1).warnings.size(), 0u);
}

}  // namespace
}  // namespace ebb::tools
