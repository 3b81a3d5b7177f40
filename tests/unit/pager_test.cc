// Tests of runtime/pager on both kinds of tiers: contents, budget, read-ahead, whole extents, failures of the device.
// PagerWorld checks the pager's bookkeeping after every step of every test.
#include <gtest/gtest.h>
#include <cerrno>
#include <cstring>
#include <random>
#include <set>

#include "pager_world.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;
using Access = FakePages::Access;

// On a disk and in memory.
class PagerTest : public testing::TestWithParam<Tier> {
 protected:
  bool disk() const { return GetParam() == Tier::kDisk; }
  // Pages of `range` are in the store and nowhere else; false when some would not go.
  bool evict(AddressRange range) {
    for (int tries = 0; tries < 8; ++tries) {
      w.squeeze({640});
      bool gone = true;
      w.table.for_each(range, [&](Extent& e) { gone &= e.resident.none() && e.aside.none() && e.loading.none(); });
      if (gone) return true;
      w.k.clock.advance(2'000'000'000);
    }
    return false;
  }
  AddressRange part(AddressRange r, uint64_t first, uint64_t count) const {
    return range_at(page(r, first), count * kPageSize);
  }

  PagerWorld w{{.tier = GetParam()}};
};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerTest, testing::Values(Tier::kDisk, Tier::kMemory, Tier::kCalls),
                         [](const auto& tier) {
                           return tier.param == Tier::kDisk ? "disk" : tier.param == Tier::kMemory ? "memory" : "calls";
                         });

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

TEST_P(PagerTest, WalksAreReadAheadForwardsAndBackwards) {
  const AddressRange a = w.add({8192});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  for (const bool forwards : {true, false}) {
    uint64_t before = w.counters().faults.load();
    for (uint64_t k = 0; k < 8192; ++k) {
      const uint64_t i = forwards ? k : 8191 - k;
      w.expect(page(a, i), 1 + i);
    }
    before = w.counters().faults.load() - before;
    EXPECT_LT(before, 8192u / 40) << (forwards ? "forwards" : "backwards");
    ASSERT_TRUE(evict(a));
  }
}

TEST_P(PagerTest, RandomTouchesNarrowTheWindowToSinglePages) {
  const AddressRange a = w.add({12288});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  std::mt19937 random(5);
  for (int n = 0; n < 3000; ++n) {
    const uint64_t i = random() % 12288;
    w.expect(page(a, i), 1 + i);
  }
  const uint64_t loaded = w.counters().loaded_bytes.load(), faults = w.counters().faults.load();
  bool alone = false;
  for (int n = 0; n < 300; ++n) {
    const uint64_t i = random() % 12288;
    if (w.k.pages.touch(page(a, i), false) == Touch::kDone) continue;
    w.step();
    for (const IoRequest& r : w.k.io.flying()) alone |= !r.write && !w.k.pages.is_simulated(address_of(r.buffer));
    w.expect(page(a, i), 1 + i);
  }
  const uint64_t more = w.counters().loaded_bytes.load() - loaded, asked = w.counters().faults.load() - faults;
  if (disk()) {
    EXPECT_LE(more, asked * kPageSize * 5 / 4);
    EXPECT_TRUE(alone) << "single pages go through buffers of the pager";
  }
}

TEST_P(PagerTest, AWholeExtentComesHomeByOneMove) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  w.expect_all(a, 1);
  ASSERT_TRUE(evict(a));
  std::set<uint64_t> huge;
  for (uint64_t i = 0; i < 4096; ++i) {
    w.expect(page(a, i), 1 + i);
    if (w.extent(page(a, i)).huge) huge.insert(i / kPagesPerExtent);
  }
  EXPECT_GE(huge.size(), 5u) << "of 8 extents";
}

TEST_P(PagerTest, HugePagesLeaveAsOneAndReturnAsOne) {
  const AddressRange a = w.add({2048 - 640});
  w.write_all(part(a, 0, 1024), 1);
  ASSERT_TRUE(w.extent(a.begin).huge);
  unsigned wholes = 0;
  w.k.pages.script = [&](FakePages::Op op, Address p) {
    wholes += op == FakePages::Op::kMove && p == a.begin;
    return Errno{};
  };
  w.strict = false;
  w.control->budget.store(to_bytes({1100}).count);
  for (int n = 0; n < 50 && !wholes; ++n) w.step();
  ASSERT_EQ(wholes, 1u);
  w.control->budget.store(to_bytes({2048}).count);
  w.k.pages.script = nullptr;
  const bool probed = w.extent(a.begin).aside.minus(w.extent(a.begin).writing).full();
  w.expect(page(a, 5), 6);
  EXPECT_TRUE(!probed || w.extent(a.begin).resident.full());
  w.expect_all(part(a, 0, 1024), 1);
}

// Fills all of an extent but `holes`, writes some pages later, and looks at what comes home.
TEST_P(PagerTest, AnExtentIsGatheredAroundAFewResidentAndUntouchedPages) {
  const AddressRange a = w.add({4096});
  // All of the first extent but the last 20 pages, which are never touched.
  for (uint64_t i = 490; i-- > 0;) w.write(page(a, i), i + 1);
  w.write_all(part(a, 512, 3584), 5000);
  ASSERT_TRUE(evict(a));
  for (uint64_t i : {100, 101, 300}) w.write(page(a, i), 9000 + i);  // home before the others
  for (uint64_t i = 0; i < 512; ++i)
    w.expect(page(a, i), i >= 490 ? 0 : i == 100 || i == 101 || i == 300 ? 9000 + i : i + 1);
  ASSERT_TRUE(evict(a));
  for (uint64_t i = 0; i < 512; ++i)
    w.expect(page(a, i), i >= 490 ? 0 : i == 100 || i == 101 || i == 300 ? 9000 + i : i + 1);
  w.expect_all(part(a, 512, 3584), 5000);
}

TEST_P(PagerTest, AWalkThroughAnExtentWithAFewPagesHomeEndsInOneHugePage) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const uint64_t first = 2 * 512;
  for (uint64_t i : {60, 61, 300, 301}) w.write(page(a, first + i), 9000 + i);
  if (w.extent(page(a, first)).resident.count() >= 128) GTEST_SKIP() << "too much came home with the five pages";
  bool huge = false;
  for (uint64_t i = 0; i < 3 * 512; ++i) {
    const uint64_t k = i - first;
    const bool written = i > first && (k == 60 || k == 61 || k == 300 || k == 301);
    w.expect(page(a, i), written ? 9000 + k : 1 + i);
    huge |= i >= first && w.extent(page(a, i)).huge;
  }
  EXPECT_TRUE(huge);
}

TEST_P(PagerTest, AWalkThroughAnExtentWithManyPagesHomeDoesNotWaitAtEachGap) {
  // What single pages bring along by chance moves one round by a quarter.
  constexpr uint64_t kFirst = 3 * 512, kHome = 170, kRounds = 3;
  uint64_t waited = 0;
  std::mt19937 random(5);
  for (uint64_t round = 0; round < kRounds; ++round) {
    const AddressRange a = w.add({12288});
    w.write_all(a, 1);
    for (int n = 0; n < 3000; ++n) {  // single pages are the rule now
      const uint64_t i = random() % 12288;
      w.expect(page(a, i), 1 + i);
    }
    ASSERT_TRUE(evict(a));
    for (uint64_t k = 0; k < kHome; ++k) {
      const uint64_t i = kFirst + k * 37 % kHome * 3;  // one in three, in no order
      w.expect(page(a, i), 1 + i);
    }
    ASSERT_GT(w.extent(page(a, kFirst)).cold().count(), 200u);
    for (uint64_t i = 0; i < kFirst + 512; ++i) {
      const uint64_t before = w.counters().faults.load();
      w.expect(page(a, i), 1 + i);
      if (i >= kFirst) waited += w.counters().faults.load() - before;
    }
    w.unmap(a);
  }
  EXPECT_LT(waited, kRounds * kHome / 3);
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

TEST_P(PagerTest, ACorruptPageIsPoisonedAndNoOther) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  for (const uint64_t bad : {7, 1000}) {
    const SlotPlace place = w.store.place(w.extent(page(a, bad)), page(a, bad).page_in_extent());
    w.k.files.corrupt(place.fd, place.offset + 123);
  }
  for (uint64_t i = 0; i < 4096; ++i) {
    if (i == 7 || i == 1000) {
      EXPECT_EQ(w.touch(page(a, i), false), Touch::kBus) << i;
    } else {
      w.expect(page(a, i), 1 + i);
    }
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 2u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "is lost"), nullptr) << w.control->message[0].text;
  EXPECT_EQ(w.touch(page(a, 7), true), Touch::kBus) << "for good";
  for (int n = 0; n < 3; ++n) w.squeeze({640});
  EXPECT_EQ(w.touch(page(a, 7), false), Touch::kBus);
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

// What a program uses beside a scan stays: its pages pass their time in limbo, but are touched there.
TEST_P(PagerTest, AScanLeavesWhatIsInUse) {
  PagerWorld wide({.tier = GetParam(), .budget = {8192}, .slots = 32});
  const AddressRange cold = wide.add({16384}), hot = wide.add({1536});
  wide.write_all(cold, 1);
  wide.write_all(hot, 1'000'000);
  const auto use = [&] {
    for (uint64_t k = 0; k < 1536; k += 13) wide.expect(page(hot, k), 1'000'000 + k);
  };
  const auto scan = [&] {
    const uint64_t before = wide.counters().loaded_bytes.load();
    for (uint64_t i = 0; i < 16384; ++i) {
      wide.expect(page(cold, i), 1 + i);
      if (i % 32 == 0) use();
    }
    return pages_covering(Bytes{wide.counters().loaded_bytes.load() - before}).count;
  };
  scan();
  EXPECT_LT(scan(), 16384u + 500) << "little but the scan is loaded";
}

// One page in eight, over and over, with room for these but not for all: after some rounds they stay.
TEST_P(PagerTest, AStrideKeepsWhatItUsesAndNotWhatLiesBetween) {
  const AddressRange a = w.add({12000});
  w.write_all(a, 1);
  const auto round = [&] {
    const uint64_t before = w.counters().loaded_bytes.load();
    for (uint64_t i = 0; i < 12000; i += 12) w.expect(page(a, i), 1 + i);
    return pages_covering(Bytes{w.counters().loaded_bytes.load() - before}).count;
  };
  for (int n = 0; n < 12; ++n) round();
  EXPECT_LT(round(), 1000u) << "of a thousand pages";
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

TEST_P(PagerTest, ABadPageThatWasReadAheadByStepsIsLostOnlyWhenItIsAskedFor) {
  const AddressRange a = w.add({12000});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const Address bad = page(a, 40 * 20);
  const SlotPlace place = w.store.place(w.extent(bad), bad.page_in_extent());
  w.k.files.corrupt(place.fd, place.offset + 100);
  w.strict = false;
  for (uint64_t i = 0; i < 12000; i += 40)
    if (page(a, i) != bad) w.expect(page(a, i), 1 + i);
  EXPECT_EQ(w.counters().bad_pages.load(), 0u);
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
}

// It is read with all that follows, and alone, since its neighbour is home.
TEST_P(PagerTest, ABadPageAtTheHeadOfAWalkIsLostAndNotReadForEver) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const uint64_t first = 4 * 512;
  const Address bad = page(a, first);
  const SlotPlace place = w.store.place(w.extent(bad), 0);
  w.expect(page(a, first + 300), 1 + first + 300);  // no huge page can come
  w.k.files.corrupt(place.fd, place.offset + 100);
  w.strict = false;
  for (uint64_t i = 0; i < 4096; ++i)
    if (page(a, i) != bad)
      w.expect(page(a, i), 1 + i);
    else
      EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
}

// What only a tier that is read and written by calls can show.
class PagerCallsTest : public PagerTest {};

TEST_P(PagerCallsTest, APageThatCannotBeReadIsLostAndNoOther) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const Address bad = page(a, 1700);
  const SlotPlace place = w.store.place(w.extent(bad), bad.page_in_extent());
  // A file that was cut short at this page: every call that reaches it fails.
  w.k.files.call_script = [&](bool write, int fd, uint64_t offset) {
    return !write && fd == place.fd && offset == place.offset ? Errno{EIO} : Errno{};
  };
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  w.k.files.call_script = nullptr;
  w.expect_all({a.begin, bad}, 1);
  w.expect_all({bad + kPageSize, a.end}, 1702);
}

TEST_P(PagerCallsTest, AFailedWriteKeepsThePage) {
  const AddressRange a = w.add({2048});
  w.write_all(a, 1);
  w.k.files.call_script = [](bool write, int, uint64_t) { return write ? Errno{ENOSPC} : Errno{}; };
  w.strict = false;
  w.squeeze({640});
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "ENOSPC"), nullptr) << w.control->message[0].text;
  w.k.files.call_script = nullptr;
  w.expect_all(a, 1);
  for (int n = 0; n < 16; ++n) {  // what could not leave is passed over for a while
    w.k.clock.advance(1'000'000'000);
    w.squeeze({640});
  }
  ASSERT_TRUE(evict(a));
  w.expect_all(a, 1);
}

INSTANTIATE_TEST_SUITE_P(Tiers, PagerCallsTest, testing::Values(Tier::kCalls), [](const auto&) { return "calls"; });

// What only a device with transfers under way can show.
class PagerDiskTest : public PagerTest {
 protected:
  void SetUp() override {
    a = w.add({4096});
    w.write_all(a, 1);
    lonely = w.add({1024});
    w.write(page(lonely, 300), 300);
    ASSERT_TRUE(evict(a));
    ASSERT_TRUE(evict(lonely));
  }
  // The next reads of page `i` fail, `times` of them; how many there were is in `reads`.
  void fail_reads(Address target, int times, int result = -EIO) {
    const SlotPlace place = w.store.place(w.extent(target), target.page_in_extent());
    w.k.io.script = [=, this](const IoRequest& r) {
      const bool hit = !r.write && r.fd == place.fd && r.offset <= place.offset && place.offset < r.offset + r.bytes;
      return hit && reads++ < times ? result : 0;
    };
  }
  AddressRange a, lonely;
  int reads = 0;
};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerDiskTest, testing::Values(Tier::kDisk), [](const auto&) { return "disk"; });

TEST_P(PagerDiskTest, AReadThatFailsOnceIsMadeAgain) {
  for (const int result : {-EIO, 100}) {
    reads = 0;
    fail_reads(page(lonely, 300), 1, result);
    w.expect(page(lonely, 300), 300);
    EXPECT_EQ(reads, 2);
    fail_reads(page(a, 1000), 1, result);
    w.expect(page(a, 1000), 1001);
    ASSERT_TRUE(evict(a));
    ASSERT_TRUE(evict(lonely));
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 0u);
}

TEST_P(PagerDiskTest, APageThatCannotBeReadIsLostAfterTwoTries) {
  fail_reads(page(lonely, 300), 1000);
  EXPECT_EQ(w.touch(page(lonely, 300), false), Touch::kBus);
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  EXPECT_GT(w.counters().read_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  w.k.io.script = nullptr;
  w.expect_all(a, 1);
}

TEST_P(PagerDiskTest, ALargeReadThatFailsLosesOnlyThePageThatIsWaitedFor) {
  // A walk, so that what is asked for is large.
  w.expect_all(part(a, 0, 20), 1);
  ASSERT_TRUE(evict(a));
  for (uint64_t i = 512; i < 520; ++i) w.expect(page(a, i), 1 + i);
  Address bad = page(a, 2060);
  ASSERT_TRUE(w.extent(bad).cold().full());
  fail_reads(bad, 1000);
  for (uint64_t i = 520; i < 4096; ++i) {
    if (page(a, i) != bad) w.expect(page(a, i), 1 + i);
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 0u) << "nobody asked for it";
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  w.k.io.script = nullptr;
  w.expect_all({a.begin, bad}, 1);
  w.expect_all({bad + kPageSize, a.end}, 2062);
}

TEST_P(PagerDiskTest, AFailedWriteKeepsThePageAndIsMadeAgainLater) {
  w.k.io.script = [](const IoRequest& r) { return r.write ? -EIO : 0; };
  w.write_all(part(a, 0, 1024), 7000);
  w.squeeze({640});
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  EXPECT_EQ(w.k.pages.resident(part(a, 0, 1024)), Pages{1024});
  const unsigned said = w.control->messages.load();
  w.k.io.script = nullptr;
  ASSERT_TRUE(evict(a));
  EXPECT_EQ(w.control->messages.load(), said);
  w.expect_all(part(a, 0, 1024), 7000);
}

TEST_P(PagerDiskTest, HooksWaitForWhatIsUnderWay) {
  w.k.io.order = FakeIo::Order::kHeld;
  EXPECT_EQ(w.k.pages.touch(page(a, 600), false), Touch::kFault);
  w.step();
  ASSERT_TRUE(w.extent(page(a, 600)).wanted.test(600 - 512));
  EXPECT_FALSE(w.pager.settled(part(a, 512, 10)));
  EXPECT_TRUE(w.pager.settled(part(a, 1024, 512)));
  EXPECT_FALSE(w.pager.drained());
  w.pager.freeze(a);
  for (const IoRequest& r : w.k.io.flying()) w.k.io.complete(r.tag);
  w.step();
  EXPECT_TRUE(w.pager.settled(a));
  EXPECT_FALSE(w.k.pages.waits(1)) << "what had begun is brought to its end";
  w.k.pages.touch(page(a, 3000), false, 2);
  w.step();
  EXPECT_TRUE(w.pager.settled(a)) << "nothing new begins";
  w.pager.thaw(a);
  w.k.io.order = FakeIo::Order::kInOrder;
  w.forget(part(a, 600, 1));
  w.expect(page(a, 600), 0);
  w.expect(page(a, 3000), 3001);
  EXPECT_FALSE(w.k.pages.waits(2));
}

TEST_P(PagerDiskTest, APageThatIsTouchedWhileItIsWrittenIsTakenBack) {
  w.write_all(part(a, 0, 1024), 7000);
  w.k.io.order = FakeIo::Order::kHeld;
  w.strict = false;
  w.control->budget.store(to_bytes({1000}).count);
  for (int n = 0; n < 40; ++n) w.step(1'000'000);
  Address leaving{};
  w.table.for_each(part(a, 0, 1024), [&](Extent& e) {
    if (e.writing.any()) leaving = e.page(e.writing.next(0));
  });
  ASSERT_NE(leaving.value, 0u);
  // Without room it waits for the write to end, and need not be read again.
  ASSERT_EQ(w.k.pages.touch(leaving, true), Touch::kFault);
  w.step();
  ASSERT_NE(w.k.pages.touch(leaving, true), Touch::kDone);
  w.k.io.order = FakeIo::Order::kInOrder;
  for (int n = 0; n < 20 && w.k.pages.touch(leaving, true) != Touch::kDone; ++n) {
    EXPECT_FALSE(w.extent(leaving).loading.test(leaving.page_in_extent()));
    w.step();
  }
  w.write(leaving, 9999);
  w.quiet();
  w.expect(leaving, 9999);
  ASSERT_TRUE(evict(a));
  w.expect(leaving, 9999);
}

TEST_P(PagerTest, AFullStoreKeepsPagesInDramUntilThereIsSpace) {
  w.k.files.set_capacity(Bytes{kExtentSize});
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_GT(w.most_over, to_bytes({1000}).count);
  EXPECT_NE(std::strstr(w.control->message[0].text, "ENOSPC"), nullptr) << w.control->message[0].text;
  w.expect_all(a, 1);
  w.k.files.set_capacity(Bytes{64 * kExtentSize});
  for (int n = 0; n < 40; ++n) {
    w.k.clock.advance(2'000'000'000);
    w.quiet();
  }
  EXPECT_LE(w.k.pages.resident(a), Pages{2048}) << "the budget is kept again";
  w.expect_all(a, 1);
}

TEST_P(PagerTest, WithoutRoomAndWithoutAnythingToEvictTheBudgetGivesWay) {
  const AddressRange a = w.add({2048}), b = w.add({512});
  w.lock(a, true);
  w.lock(b, true);
  w.write_all(a, 1);
  EXPECT_LE(w.charged(), 2048u);
  EXPECT_EQ(w.most_over, 0u);
  w.write_all(b, 5000);
  EXPECT_GT(w.most_over, 0u);
  w.unlock(a);
  w.unlock(b);
  w.expect_all(a, 1);
  w.expect_all(b, 5000);
  w.quiet();
  EXPECT_LE(w.k.pages.resident(a).count + w.k.pages.resident(b).count, 2048u);
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
