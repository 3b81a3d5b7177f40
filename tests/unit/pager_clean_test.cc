// Tests of pager/clean.cc: what is clean is as the store has it, whoever writes when; what the program changes is left
// alone for a while; a job that fits is not watched before it is cleaned.
#include <gtest/gtest.h>
#include <cerrno>

#include "pager_world.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;

class PagerCleanTest : public testing::TestWithParam<Tier> {
 protected:
  // One walk over everything. How many pages were looked at.
  uint64_t walk(bool calm_only) {
    Pager::CleanWalk walk;
    walk.calm_only = calm_only;
    while (!w.pager.clean_ahead(walk, w.buffer)) w.check();
    EXPECT_FALSE(walk.error);
    return walk.written.count;
  }
  void wait(uint64_t ns) { w.step(ns); }

  PagerWorld w{{.tier = GetParam(), .budget = {4096}}};
};

TEST_P(PagerCleanTest, WhatIsZeroIsCleanWithoutBeingStored) {
  const AddressRange a = w.add({512});
  w.write_all(a, 0);
  EXPECT_EQ(walk(false), 512u);
  EXPECT_EQ(w.counters().written_bytes.load(), 0u);
  EXPECT_EQ(walk(false), 0u) << "it is not looked at twice";
  w.write(page(a, 7), 70);
  ASSERT_FALSE(w.seal(false));
  w.take_back();
  for (uint64_t i = 0; i < 512; ++i) w.expect(page(a, i), i == 7 ? 70 : 0);
}

TEST_P(PagerCleanTest, NothingIsCleanWhileSomeoneMayHoldAPage) {
  const AddressRange a = w.add({512});
  w.write_all(a, 1);
  w.k.pages.held = true;
  EXPECT_EQ(walk(false), 0u);
  // The device writes; no page table is asked.
  PagerWorld::fill(w.k.pages.contents(page(a, 100)), 4711);
  ASSERT_FALSE(w.seal(true));
  w.take_back();
  w.expect(page(a, 100), 4711);
  w.expect(page(a, 101), 102);
}

TEST_P(PagerCleanTest, WhatIsLeftAloneIsCleanedAndNotAgain) {
  const AddressRange a = w.add({512});
  w.write_all(a, 1);
  EXPECT_EQ(walk(true), 0u) << "it was filled just now";
  wait(Calm::kShortNs / 2);
  EXPECT_EQ(walk(true), 0u);
  wait(Calm::kShortNs);
  EXPECT_EQ(walk(true), 512u);
  wait(Calm::kShortNs * 100);
  EXPECT_EQ(walk(true), 0u);
  EXPECT_EQ(w.counters().cleaned_bytes.load(), to_bytes({512}).count);
}

TEST_P(PagerCleanTest, WhatWaitsOutOfSightComesHomeAndIsCleaned) {
  const AddressRange a = w.add({6144});
  w.write_all(a, 1);
  const auto aside = [&] {
    uint64_t pages = 0;
    w.table.for_all([&](const Extent& e) { pages += e.aside.count(); });
    return pages;
  };
  ASSERT_GT(aside(), 0u);
  for (int i = 0; i < 20 && aside() > 0; ++i) {
    wait(Calm::kShortNs * 100);
    (void)walk(true);
  }
  EXPECT_EQ(aside(), 0u);
  wait(Calm::kShortNs * 100);
  (void)walk(true);
  EXPECT_EQ(walk(false), 0u) << "nothing is left for the stop";
  for (uint64_t i = 0; i < 6144; ++i) w.expect(page(a, i), 1 + i);
}

TEST_P(PagerCleanTest, WhatIsChangedAgainAndAgainIsLeftAloneForLonger) {
  const AddressRange a = w.add({512});
  w.write_all(a, 1);
  (void)walk(true);
  uint64_t needed = 0;
  for (unsigned round = 0; round < 4; ++round) {
    uint64_t waited = 0;
    while (walk(true) == 0) {
      wait(Calm::kShortNs / 4);
      waited += Calm::kShortNs / 4;
      ASSERT_LT(waited, Calm::kShortNs * 100);
    }
    EXPECT_GE(waited, needed * 3 / 2) << "round " << round;
    needed = waited;
    w.write(page(a, 3), 100 + round);
  }
}

TEST_P(PagerCleanTest, AFullTierEndsTheWalkAndLosesNothing) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.k.files.set_capacity(w.k.files.used());
  Pager::CleanWalk walk;
  while (!w.pager.clean_ahead(walk, w.buffer)) w.check();
  EXPECT_EQ(walk.error.value, ENOSPC);
  w.check();
  w.write(page(a, 3), 33);
  w.k.files.set_capacity({uint64_t{1} << 30});
  ASSERT_FALSE(w.seal());
  w.take_back();
  for (uint64_t i = 0; i < 1024; ++i) w.expect(page(a, i), i == 3 ? 33 : i + 1);
}

TEST_P(PagerCleanTest, WhatGoesOutOfSightCleanNeedNotComeHomeForASnapshot) {
  const AddressRange a = w.add({3072}), b = w.add({2048});
  w.write_all(a, 1);
  EXPECT_EQ(walk(false), 3072u);
  Extent* unchanged = nullptr;
  for (uint64_t i = 0; i < 2048 && !unchanged; ++i) {
    w.write(page(b, i), 9000 + i);
    w.table.for_each(a, [&](Extent& e) { unchanged = e.unchanged.any() ? &e : unchanged; });
  }
  ASSERT_NE(unchanged, nullptr);
  const PageSet pages = unchanged->unchanged;
  const uint64_t written = w.counters().written_bytes.load();
  w.pager.set_freezing(true);
  w.drain();
  EXPECT_EQ(unchanged->cold() & pages, pages);
  w.pager.set_freezing(false);
  EXPECT_EQ(w.counters().written_bytes.load(), written);
  w.expect_all(a, 1);
}

TEST_P(PagerCleanTest, WhatComesBackFromOutOfSightIsNotTakenForUnchanged) {
  const AddressRange a = w.add({3072}), b = w.add({2048});
  w.write_all(a, 1);
  EXPECT_EQ(walk(false), 3072u);
  w.write_all(b, 9000);
  for (uint64_t i = 0; i < 3072; i += 7) w.write(page(a, i), 5 * i);
  w.write_all(b, 8000);
  w.pager.set_freezing(true);
  w.drain();
  w.pager.set_freezing(false);
  for (uint64_t i = 0; i < 3072; ++i) w.expect(page(a, i), i % 7 ? i + 1 : 5 * i);
  w.expect_all(b, 8000);
}

TEST_P(PagerCleanTest, AJobThatFitsIsNotWatchedBeforeItIsCleaned) {
  w.control->clean_ahead.store(1);
  const AddressRange a = w.add({1024});
  EXPECT_EQ(w.charged(), 1024u) << "all of it is the kernel's to fill";
  ASSERT_EQ(w.k.pages.touch(page(a, 5), true), Touch::kDone);
  PagerWorld::fill(w.k.pages.contents(page(a, 5)), 6);
  EXPECT_EQ(walk(true), 0u);
  wait(2 * Calm::kShortNs);
  EXPECT_EQ(walk(true), 1u);
  EXPECT_EQ(w.k.pages.touch(page(a, 5), true), Touch::kFault);
  w.write(page(a, 5), 7);
  EXPECT_EQ(w.k.pages.touch(page(a, 600), true), Touch::kDone) << "nothing of it was touched: no need to watch it";
}

TEST_P(PagerCleanTest, WhatAChildHasBorrowedIsItsParentsToClean) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.become_child();
  (void)walk(true);
  wait(2 * Calm::kShortNs);
  EXPECT_EQ(walk(true), 0u);
  w.write_all({a.begin, page(a, 512)}, 5000);  // its own now
  (void)walk(true);
  wait(2 * Calm::kShortNs);
  EXPECT_EQ(walk(true), 512u);
  ASSERT_FALSE(w.seal());
  w.take_back();
  for (uint64_t i = 0; i < 1024; ++i) w.expect(page(a, i), i < 512 ? 5000 + i : i + 1);
}

TEST_P(PagerCleanTest, WhatDoesNotFitIsWatchedFromTheStart) {
  w.control->clean_ahead.store(1);
  (void)w.add({3072});
  const AddressRange more = w.add({2048});
  EXPECT_EQ(w.k.pages.touch(more.begin, true), Touch::kFault);
}

INSTANTIATE_TEST_SUITE_P(Tiers, PagerCleanTest, testing::Values(Tier::kDisk, Tier::kMemory));

}  // namespace
}  // namespace ebb
