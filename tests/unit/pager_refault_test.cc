// Tests of what the pager makes of pages that are missed soon after they were evicted.
#include <gtest/gtest.h>
#include <random>

#include "pager_world.h"

namespace ebb {
namespace {

class PagerRefaultTest : public testing::TestWithParam<Tier> {
 protected:
  PagerWorld w{{.tier = GetParam(), .budget = {8192}}};
};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerRefaultTest, testing::Values(Tier::kDisk, Tier::kMemory),
                         [](const auto& tier) { return tier.param == Tier::kDisk ? "disk" : "memory"; });

// As R does it: a heap that its collector goes through now and then, and between two times new vectors of nearly all
// the budget, the older ones given back. Each time limbo sees no touch of the heap; it comes to stay all the same.
TEST_P(PagerRefaultTest, WhatIsUsedNowAndThenStaysBesideWhatPasses) {
  const AddressRange heap = w.add({2048});
  w.write_all(heap, 1);
  std::mt19937_64 random(1);
  std::vector<AddressRange> vectors;
  uint64_t early = 0, late = 0;
  for (int round = 0; round < 40; ++round) {
    for (int n = 0; n < 7; ++n) {
      vectors.push_back(w.add({1024}));
      w.write_all(vectors.back(), 1000 + static_cast<uint64_t>(n));
      if (vectors.size() > 7) {
        w.unmap(vectors.front());
        vectors.erase(vectors.begin());
      }
      for (int quiet = 0; quiet < 10; ++quiet) w.step(2'000'000);
    }
    const uint64_t before = w.counters().loaded_bytes.load();
    for (int n = 0; n < 1000; ++n) {
      const uint64_t i = random() % 2048;
      w.expect(page(heap, i), 1 + i);
    }
    (round < 4 ? early : late) += w.counters().loaded_bytes.load() - before;
  }
  EXPECT_GT(early, 0u) << "nothing had to go";
  EXPECT_LT(late / 36, early / 4 / 2);
}

}  // namespace
}  // namespace ebb
