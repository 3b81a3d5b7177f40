// Tests of pager/shared.cc: pages that processes share since a fork are charged once, copies before they are made, and
// nothing that is shared is evicted.
#include <gtest/gtest.h>

#include "pager_world.h"

namespace ebb {
namespace {

class PagerSharedTest : public testing::TestWithParam<Tier> {
 protected:
  // A parent with `pages` pages in DRAM, of which this is now the child.
  AddressRange inherited(uint64_t pages) {
    const AddressRange a = w.add({pages});
    w.write_all(a, 1);
    w.become_child();
    return a;
  }
  const JobSlot& own() const { return w.control->slot[1]; }
  static uint64_t pages(const Counter& bytes) { return bytes.load() >> kPageShift; }

  static constexpr uint64_t kBudget = 4096;  // pages
  PagerWorld w{{.tier = GetParam(), .budget = {kBudget}}};
};

TEST_P(PagerSharedTest, WhatIsSharedIsChargedOnce) {
  const AddressRange a = inherited(1024);
  EXPECT_EQ(w.charged(), 1024u) << "the parent's";
  EXPECT_EQ(pages(own().charged), 0u);
  EXPECT_EQ(pages(own().borrowed), 1024u);
  w.expect_all(a, 1);
  EXPECT_EQ(w.charged(), 1024u) << "reading makes no copy";
}

TEST_P(PagerSharedTest, ACopyIsChargedBeforeItIsMade) {
  const AddressRange a = inherited(1024);
  ASSERT_EQ(w.k.pages.touch(page(a, 5), true), FakePages::Touch::kFault) << "the write waits for us";
  w.quiet();
  EXPECT_GE(pages(own().charged), 1u);
  EXPECT_LE(pages(own().charged), 8u);
  EXPECT_EQ(w.charged(), 1024 + pages(own().charged));
  w.write_all(a, 5000);
  EXPECT_EQ(pages(own().borrowed), 0u);
  EXPECT_EQ(pages(own().charged), 1024u);
  EXPECT_EQ(w.charged(), 2048u);
  w.expect_all(a, 5000);
}

TEST_P(PagerSharedTest, SharedPagesStayUntilNobodyElseHasThem) {
  const AddressRange a = inherited(1024);
  w.squeeze({100});
  EXPECT_EQ(w.k.pages.resident(a), Pages{1024}) << "to evict one of two frees nothing";
  w.k.pages.end_sharing(a);
  w.k.clock.advance(uint64_t{10'000'000'000});
  w.squeeze({100});
  EXPECT_LT(w.k.pages.resident(a), Pages{1024});
  EXPECT_EQ(pages(own().borrowed), 0u);
  w.expect_all(a, 1);
}

TEST_P(PagerSharedTest, AParentWritesAndItsOldPageStaysCharged) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.drain();
  w.pager.share();
  w.k.pages.share(a);
  w.write_all(a, 5000);
  EXPECT_EQ(w.charged(), 2048u) << "one for each process";
  EXPECT_EQ(pages(w.control->orphaned), 1024u);
  w.control->slot[9].borrowed.store(to_bytes({1000}).count);
  w.budget.settle_orphans(w.k.clock.now_ns());
  EXPECT_EQ(w.charged(), 2024u) << "nobody borrows the others";
  w.control->slot[9].borrowed.store(0);
  const uint64_t begun = w.budget.begin_fork(w.k.clock.now_ns());
  w.budget.settle_orphans(w.k.clock.now_ns());
  EXPECT_EQ(w.charged(), 2024u) << "a child that was just made has not said yet what it borrows";
  w.budget.end_fork(begun);
  w.budget.settle_orphans(w.k.clock.now_ns());
  EXPECT_EQ(w.charged(), 1024u);
}

TEST_P(PagerSharedTest, AChildThatWasKilledBeforeItSaidAnythingIsNotWaitedForForEver) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.drain();
  w.budget.begin_fork(w.k.clock.now_ns());  // and never ends
  w.pager.share();
  w.k.pages.share(a);
  w.write_all(a, 5000);
  w.budget.settle_orphans(w.k.clock.now_ns());
  EXPECT_EQ(w.charged(), 2048u);
  for (int n = 0; n < 12; ++n) {  // others are made all the time
    w.k.clock.advance(uint64_t{2'000'000'000});
    w.budget.end_fork(w.budget.begin_fork(w.k.clock.now_ns()));
  }
  w.budget.settle_orphans(w.k.clock.now_ns());
  EXPECT_EQ(w.charged(), 1024u);
}

TEST_P(PagerSharedTest, WhatIsGivenBackIsBorrowedNoMore) {
  const AddressRange a = inherited(1024);
  w.forget({a.begin, page(a, 100)});
  EXPECT_EQ(pages(own().borrowed), 924u);
  w.unmap({page(a, 512), page(a, 1024)});
  EXPECT_EQ(pages(own().borrowed), 412u);
  EXPECT_EQ(pages(own().charged), 0u);
}

TEST_P(PagerSharedTest, WhatMovesBecomesPrivateSinceItLosesItsProtection) {
  const AddressRange a = inherited(1024);
  const AddressRange to = w.remap(a);
  EXPECT_EQ(pages(own().borrowed), 0u);
  EXPECT_EQ(pages(own().charged), 1024u);
  w.expect_all(to, 1);
}

TEST_P(PagerSharedTest, ManyGenerationsShareAtMostThreeQuartersOfTheBudget) {
  const AddressRange a = w.add({3500});
  for (uint64_t generation = 0; generation < 5; ++generation) {
    w.write_all(a, 1 + 10'000 * generation);
    w.become_child();
    EXPECT_LE(w.budget.shared_pages().count, kBudget / 4 * 3 + kPagesPerExtent);
    w.expect_all(a, 1 + 10'000 * generation);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, PagerSharedTest, testing::Values(Tier::kDisk, Tier::kMemory),
                         [](const auto& param) { return param.param == Tier::kDisk ? "disk" : "memory"; });

}  // namespace
}  // namespace ebb
