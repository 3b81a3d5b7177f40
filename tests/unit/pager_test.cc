// Tests of runtime/pager on all kinds of tiers: contents, budget, hooks, fork. PagerWorld checks the pager's
// bookkeeping after every step of every test. Walks: pager_walk_test.cc; failures of the device: pager_failure_test.cc.
#include <cerrno>
#include <cstring>

#include "pager_on_tiers.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;
using Access = FakePages::Access;

class PagerTest : public PagerOnTiers {};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerTest, kAllTiers, tier_name);

TEST_P(PagerTest, MoreThanTheBudgetComesBackByteForByte) {
  const AddressRange a = w.add({8192});
  w.write_all(a, 1);
  EXPECT_LE(w.control->peak_charged.load(), w.control->budget.load());
  EXPECT_GT(w.counters().written_bytes.load(), to_bytes({8192 - 2048 - 1}).count);
  w.expect_all(a, 1);
  w.expect_all(a, 1);
  EXPECT_LE(w.control->peak_charged.load(), w.control->budget.load());
  EXPECT_EQ(w.most_over, 0u);
  EXPECT_GE(w.control->peak_need.load(), to_bytes({8192}).count);
}

TEST_P(PagerTest, CleanPagesAreDroppedWithoutAWrite) {
  const AddressRange a = w.add({6144});
  w.write_all(a, 1);
  w.expect_all(a, 1);
  ASSERT_TRUE(evict(a));
  const uint64_t written = w.counters().written_bytes.load();
  w.expect_all(a, 1);
  ASSERT_TRUE(evict(a));
  EXPECT_EQ(w.counters().written_bytes.load(), written);
  w.write(page(a, 1000), 77);
  ASSERT_TRUE(evict(a));
  EXPECT_EQ(w.counters().written_bytes.load(), written + kPageSize);
  w.expect(page(a, 1000), 77);
}

TEST_P(PagerTest, ZeroPagesAreForgotten) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const Bytes stored = w.store.size();
  w.write_all(a, 0);
  ASSERT_TRUE(evict(a));
  EXPECT_EQ(w.store.size(), Bytes{}) << stored.count << " before";
  const uint64_t loaded = w.counters().loaded_bytes.load();
  w.expect_all(a, 0);
  EXPECT_EQ(w.counters().loaded_bytes.load(), loaded);
}

TEST_P(PagerTest, NeverTouchedPagesAreZerosAndWalksGetHugePages) {
  const AddressRange a = w.add({1024});
  for (uint64_t i = 0; i < 1024; ++i) w.expect(page(a, i), 0);
  EXPECT_TRUE(w.extent(a.begin).huge);
  EXPECT_LT(w.counters().faults.load(), 32u);
  // A touch in the middle of nowhere takes a block at most.
  const AddressRange b = w.add({1024});
  w.expect(page(b, 700), 0);
  EXPECT_LE(w.k.pages.resident(b).count, kPagesPerBlock);
}

TEST_P(PagerTest, ATouchInLimboBringsThePageBack) {
  const AddressRange a = w.add({1536});
  w.write_all(a, 1);
  w.strict = false;
  w.control->budget.store(to_bytes({1900}).count);
  Address aside{};
  for (int n = 0; n < 50 && !aside.value; ++n) {
    w.step();
    w.table.for_each(a, [&](Extent& e) {
      const PageSet waiting = e.aside.minus(e.writing);
      if (waiting.any()) aside = e.page(waiting.next(0));
    });
  }
  ASSERT_NE(aside.value, 0u) << "nothing went to limbo";
  EXPECT_EQ(w.touch(aside, true), Touch::kDone);
  EXPECT_GT(w.counters().returned_bytes.load(), 0u);
  EXPECT_EQ(w.counters().loaded_bytes.load(), 0u);
  w.expect(aside, 1 + (aside - a.begin) / kPageSize);
}

TEST_P(PagerTest, WhatAHookWorksOnStaysAsItIs) {
  const AddressRange a = w.add({1536});
  w.write_all(a, 1);
  w.strict = false;
  w.control->budget.store(to_bytes({1900}).count);
  Extent* waiting = nullptr;
  for (int n = 0; n < 50 && !waiting; ++n) {
    w.step();
    w.table.for_each(a, [&](Extent& e) {
      if (e.aside.any() && !e.transfers) waiting = &e;
    });
  }
  ASSERT_NE(waiting, nullptr);
  const AddressRange range = range_at(waiting->base, kExtentSize);
  const PageSet aside = waiting->aside;
  w.pager.freeze(range);
  w.control->budget.store(to_bytes({640}).count);
  for (int n = 0; n < 100; ++n) w.step();
  EXPECT_EQ(waiting->aside, aside);
  EXPECT_TRUE(w.pager.settled(range));
  w.pager.thaw(range);
  for (int n = 0; n < 100; ++n) w.step(1'000'000);
  EXPECT_TRUE(waiting->aside.none()) << "it goes afterwards";
  w.control->budget.store(to_bytes({2048}).count);
  w.expect_all(a, 1);
}

TEST_P(PagerTest, ManyThreadsOnOnePageAllGoOn) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  for (uint32_t thread = 1; thread <= 9; ++thread) w.k.pages.touch(page(a, 300), false, thread);
  for (int n = 0; n < 10; ++n) w.step();
  for (uint32_t thread = 1; thread <= 9; ++thread) EXPECT_FALSE(w.k.pages.waits(thread));
  EXPECT_EQ(w.counters().faults.load() > 0, true);
}

TEST_P(PagerTest, FencedAndLockedPagesNeverLeave) {
  const AddressRange a = w.add({4096});
  w.write_all(part(a, 0, 1024), 1);
  w.protect(part(a, 10, 30), Access::kRead);
  w.lock(part(a, 600, 50), false);
  w.write_all(part(a, 1024, 3072), 1025);
  w.squeeze({640});
  EXPECT_EQ(w.k.pages.resident(part(a, 10, 30)), Pages{30});
  EXPECT_EQ(w.k.pages.resident(part(a, 600, 50)), Pages{50});
  EXPECT_LT(w.k.pages.resident(a), Pages{700});
  w.protect(part(a, 10, 30), Access::kReadWrite);
  w.unlock(part(a, 600, 50));
  w.k.clock.advance(1'000'000'000);
  for (int n = 0; n < 3; ++n) w.squeeze({640});
  EXPECT_LT(w.k.pages.resident(part(a, 10, 30)) + w.k.pages.resident(part(a, 600, 50)), Pages{80});
  w.expect_all(a, 1);
}

TEST_P(PagerTest, ColdPagesComeBackBehindAFence) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  w.protect(part(a, 0, 1024), Access::kRead);
  w.expect_all(part(a, 0, 1024), 1);
  EXPECT_EQ(w.touch(a.begin, true), Touch::kSegv);
  w.protect(part(a, 0, 1024), Access::kReadWrite);
  w.expect_all(a, 1);
}

TEST_P(PagerTest, LockingBringsEverythingIn) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  w.lock(part(a, 100, 900), false);
  EXPECT_EQ(w.k.pages.resident(part(a, 100, 900)), Pages{900});
  w.squeeze({700});
  EXPECT_EQ(w.k.pages.resident(part(a, 100, 900)), Pages{900});
  w.unlock(part(a, 100, 900));
  w.expect_all(a, 1);
}

TEST_P(PagerTest, PagesPinnedByOthersStayHome) {
  const AddressRange a = w.add({4096});
  w.write_all(part(a, 0, 1024), 1);
  for (uint64_t i : {3, 4, 200, 511}) w.k.pages.pin(page(a, i), true);
  w.write_all(part(a, 1024, 3072), 1025);
  for (int n = 0; n < 5; ++n) w.squeeze({640});
  for (uint64_t i : {3, 4, 200, 511}) EXPECT_TRUE(w.k.pages.is_present(page(a, i))) << i;
  EXPECT_LT(w.k.pages.resident(part(a, 0, 512)), Pages{100}) << "their neighbours go";
  for (uint64_t i : {3, 4, 200, 511}) w.k.pages.pin(page(a, i), false);
  w.expect_all(a, 1);
  ASSERT_TRUE(evict(a));
}

TEST_P(PagerTest, PagesSharedSinceAForkAreMadePrivateAndLeave) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.k.pages.share(a);
  ASSERT_TRUE(evict(a));
  w.expect_all(a, 1);
}

TEST_P(PagerTest, AFaultOnAPageDroppedBehindOurBackReadsAsZeros) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  w.expect_all(a, 1);
  ASSERT_TRUE((w.extent(a.begin).resident & w.extent(a.begin).stored).test(40))
      << "there is a copy that must not come back";
  w.checking = false;
  w.k.pages.discard(part(a, 40, 2));
  w.expect(page(a, 40), 0);
  w.checking = true;
  w.expect(page(a, 41), 0);
  w.expect(page(a, 42), 43);
}

TEST_P(PagerTest, WhatIsForgottenReadsAsZerosInEveryCondition) {
  const AddressRange a = w.add({8192});
  w.write_all(a, 1);
  for (uint64_t i = 0; i < 1300; ++i) w.expect(page(a, i), 1 + i);
  for (uint64_t i : {5300, 6400, 6100, 7900, 7100}) w.expect(page(a, i), 1 + i);  // not by a scan
  // By now some is resident, some in limbo or on its way, some stored.
  w.k.io.order = FakeIo::Order::kHeld;
  w.k.pages.touch(page(a, 3000), false, 2);
  for (int n = 0; n < 3; ++n) w.step();
  PageSet conditions[3];
  const uint64_t budget = w.control->budget.load();
  // Less and less room, until something is aside and most still at home.
  w.strict = false;
  for (uint64_t pages = 2000; pages > 600 && conditions[1].none(); pages -= 50) {
    w.control->budget.store(to_bytes({pages}).count);
    w.step();
    for (PageSet& c : conditions) c = {};
    w.table.for_each(a, [&](Extent& e) {
      conditions[0] |= e.resident;
      conditions[1] |= e.aside | e.loading;
      conditions[2] |= e.stored;
    });
  }
  w.control->budget.store(budget);
  for (int c = 0; c < 3; ++c) EXPECT_TRUE(conditions[c].any()) << c;
  w.k.io.order = FakeIo::Order::kInOrder;
  w.forget(part(a, 100, 5000));
  w.expect_all(part(a, 0, 100), 1);
  w.expect_all(part(a, 100, 5000), 0);
  w.expect_all(part(a, 5100, 3092), 5101);
  w.forget(a);
  EXPECT_EQ(w.store.size(), Bytes{});
  EXPECT_EQ(w.control->stored.load(), 0u);
  w.unmap(part(a, 700, 5000));
  EXPECT_EQ(w.touch(page(a, 700), false), Touch::kSegv);
  w.expect(page(a, 699), 0);
}

// The hook may wait for the very thread that needs room, with all else locked.
TEST_P(PagerTest, WhatAHookHoldsInLimboDoesNotKeepTheBudgetFromGivingWay) {
  const AddressRange held = w.add({512}), locked = w.add({1400});
  w.write_all(held, 1);
  w.write_all(locked, 1000);
  w.lock(locked, false);
  w.strict = false;
  const uint64_t budget = w.control->budget.load();
  for (int n = 0; n < 50 && w.extent(held.begin).aside.none(); ++n) {
    w.control->budget.store(w.control->charged.load() + to_bytes({300}).count);
    w.step();
  }
  ASSERT_TRUE(w.extent(held.begin).aside.any());
  ASSERT_FALSE(w.extent(held.begin).transfers);
  w.pager.freeze(held);
  w.control->budget.store(w.control->charged.load());
  const AddressRange fresh = w.add({16});
  w.write(fresh.begin, 7);
  w.pager.thaw(held);
  w.control->budget.store(budget);
  w.expect(fresh.begin, 7);
  w.expect_all(held, 1);
}

TEST_P(PagerTest, DrainingEndsWithEverythingHomeOrStored) {
  const AddressRange a = w.add({6144});
  w.write_all(a, 1);
  for (uint64_t i = 0; i < 700; ++i) w.expect(page(a, i), 1 + i);
  w.drain();
  EXPECT_TRUE(w.pager.drained());
  EXPECT_EQ(w.k.io.in_flight(), 0u);
  w.table.for_each(a, [&](Extent& e) { EXPECT_TRUE((e.aside | e.loading | e.writing).none()); });
  w.expect_all(a, 1);
}

TEST_P(PagerTest, AForkChildHasEverythingAndTheSealedLayerIsUntouched) {
  const AddressRange a = w.add({6144});
  w.write_all(a, 1);
  w.drain();
  const SlotPlace place = w.store.place(w.extent(a.begin), 0);
  w.become_child();
  std::vector<char> sealed(w.k.files.stored(place.fd, 0), w.k.files.stored(place.fd, 0) + 12 * kExtentSize);
  w.expect_all(a, 1);
  w.write_all(a, 10'000);
  w.expect_all(a, 10'000);
  ASSERT_TRUE(evict(a));
  // Nothing of it is needed here any more; while the parent lives it is not this process that may change it.
  if (w.k.files.is_open(place.fd)) {
    EXPECT_EQ(std::memcmp(sealed.data(), w.k.files.stored(place.fd, 0), sealed.size()), 0);
  }
  w.become_child();
  w.become_child();
  w.expect_all(a, 10'000);
}

TEST_P(PagerTest, MovedMemoryKeepsItsContents) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  const AddressRange to = w.remap(part(a, 512, 2048));
  w.expect_all(part(a, 0, 512), 1);
  w.expect_all(to, 513);
  w.expect_all(part(a, 2560, 1536), 2561);
  EXPECT_EQ(w.touch(page(a, 600), false), Touch::kSegv);
  w.write_all(to, 20'000);
  ASSERT_TRUE(evict(to));
  w.expect_all(to, 20'000);
}

TEST_P(PagerTest, ManagementEndsWithTheContentsInPlace) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  w.let_go(part(a, 1000, 500));
  for (uint64_t i = 1000; i < 1500; ++i) {
    ASSERT_EQ(w.k.pages.touch(page(a, i), true), Touch::kDone) << "the kernel's now";
    ASSERT_TRUE(PagerWorld::holds(w.k.pages.contents(page(a, i)), 1 + i));
  }
  w.expect_all(part(a, 0, 1000), 1);
  w.expect_all(part(a, 1500, 2596), 1501);
}

TEST_P(PagerTest, AnUnarmedRangeIsTakenBackFromTheKernel) {
  w.pager.abandon();  // free-run
  const AddressRange a = w.add({1400});
  EXPECT_EQ(w.charged(), 1400u) << "all of it counts";
  for (uint64_t i = 0; i < 900; ++i) {
    ASSERT_EQ(w.k.pages.touch(page(a, i), true), Touch::kDone);
    PagerWorld::fill(w.k.pages.contents(page(a, i)), 1 + i);
  }
  ASSERT_TRUE(w.pager.open(w.slots, disk() ? &w.k.io : nullptr).ok());
  const AddressRange b = w.add({2048});
  w.write_all(b, 5000);
  w.expect_all(part(a, 0, 900), 1);
  w.expect_all(part(a, 900, 500), 0);
  w.expect_all(b, 5000);
  EXPECT_LE(w.control->peak_charged.load(), w.control->budget.load());
}

TEST_P(PagerTest, ARangeThatTheKernelWillNotArmStaysResident) {
  w.k.pages.script = [&](FakePages::Op op, Address) { return op == FakePages::Op::kArm ? Errno{EBUSY} : Errno{}; };
  const AddressRange a = w.add({300});
  w.k.pages.script = nullptr;
  EXPECT_EQ(w.charged(), 300u);
  ASSERT_EQ(w.k.pages.touch(page(a, 7), true), Touch::kDone);
  w.unmap(a);
  EXPECT_EQ(w.charged(), 0u);
}

TEST_P(PagerTest, WhatIsElsewhereCountsAsResidentForMincore) {
  const AddressRange a = w.add({4096});
  w.write_all(part(a, 0, 100), 1);
  EXPECT_FALSE(w.pager.elsewhere(page(a, 3000)));
  ASSERT_TRUE(evict(a));
  EXPECT_TRUE(w.pager.elsewhere(page(a, 50)));
  EXPECT_FALSE(w.pager.elsewhere(page(a, 3000)));
  EXPECT_FALSE(w.pager.elsewhere({kExtentSize}));
}

}  // namespace
}  // namespace ebb
