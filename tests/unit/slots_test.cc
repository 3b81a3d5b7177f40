// Tests of pager/slots.h: places out of sight, what they keep, and that every page they hold is charged.
#include "pager/slots.h"

#include <gtest/gtest.h>
#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "fake_kernel.h"

namespace ebb {
namespace {

class SlotsTest : public testing::Test {
 protected:
  static constexpr unsigned kSlots = 8;  // of which the last two want huge pages

  void SetUp() override {
    control_->budget.store(to_bytes(whole_extents(100)).count);
    budget_.attach(*control_, control_->slot[0]);
    range_ = k_.pages.map(Bytes{kSlots * kExtentSize});
    home_ = k_.pages.map(Bytes{4 * kExtentSize});
    ASSERT_TRUE(k_.pages.arm(home_).ok());
    ASSERT_TRUE(k_.pages.arm_limbo(range_).ok());
    ASSERT_TRUE(slots_.open(range_).ok());
  }
  void TearDown() override { check(); }

  // What slots hold is charged, and what they say they hold is there.
  void check() {
    uint64_t held = 0;
    for (uint32_t s = 0; s < kSlots; ++s) {
      held += slots_.present(s).count();
      EXPECT_EQ(slots_.present(s), k_.pages.present(slots_.address(s, 0), nullptr)) << "slot " << s;
    }
    const uint64_t home = k_.pages.resident(home_).count;
    EXPECT_EQ(budget_.own().count, held + home);
  }
  // As after a read into the slot, or a page made there.
  void make(uint32_t slot, PageRun run) {
    ASSERT_TRUE(budget_.try_charge({run.count}));
    const AddressRange r = range_at(slots_.address(slot, run.first), run.count * kPageSize);
    ASSERT_TRUE(k_.pages.populate(r));
    slots_.entered(slot, PageSet::of(run));
  }
  uint32_t whole() {
    const uint32_t slot = slots_.take_whole();
    EXPECT_NE(slot, kNoSlot);
    if (!slots_.whole(slot)) {
      EXPECT_TRUE(budget_.try_charge({kPagesPerExtent}));
      EXPECT_TRUE(slots_.make_whole(slot));
    }
    return slot;
  }

  FakeKernel k_;
  Arena arena_;
  std::unique_ptr<JobControl> control_ = std::make_unique<JobControl>();
  Budget budget_;
  SlotPool slots_{arena_, k_.pages, budget_};
  AddressRange range_, home_;
};

TEST_F(SlotsTest, EverySlotIsGivenOutOnceAndComesBack) {
  for (bool whole : {false, true}) {
    std::vector<uint32_t> taken;
    for (uint32_t s; (s = slots_.take_empty(whole)) != kNoSlot;) {
      EXPECT_EQ(std::count(taken.begin(), taken.end(), s), 0);
      EXPECT_LT(s, kSlots);
      taken.push_back(s);
    }
    EXPECT_EQ(taken.size(), kSlots);
    EXPECT_EQ(slots_.used(), kSlots);
    EXPECT_EQ(slots_.take_for_load(PageSet::all()), kNoSlot);
    EXPECT_EQ(slots_.take_whole(), kNoSlot);
    for (uint32_t s : taken) slots_.give(s);
    EXPECT_EQ(slots_.used(), 0u);
  }
}

TEST_F(SlotsTest, SinglePagesAndHugePagesKeepApart) {
  const uint32_t single = slots_.take_empty(false), huge = slots_.take_empty(true);
  EXPECT_LT(single, kSlots - SlotPool::huge_slots(kSlots));
  EXPECT_GE(huge, kSlots - SlotPool::huge_slots(kSlots));
  EXPECT_GE(slots_.take_whole(), kSlots - SlotPool::huge_slots(kSlots));
  EXPECT_EQ(slots_.take_whole(), kNoSlot) << "the others are of single pages";
  EXPECT_LT(slots_.take_for_load(PageSet::all()), kSlots - SlotPool::huge_slots(kSlots));
}

TEST_F(SlotsTest, AddressesFollowThePages) {
  EXPECT_EQ(slots_.address(0, 0), range_.begin);
  EXPECT_EQ(slots_.address(3, 5), range_.begin + 3 * kExtentSize + 5 * kPageSize);
}

TEST_F(SlotsTest, WhatIsLeftInAGivenSlotIsSpareAndCharged) {
  const uint32_t slot = slots_.take_for_load(PageSet::all());
  make(slot, {10, 20});
  EXPECT_EQ(slots_.spare(), Pages{}) << "in use is not spare";
  slots_.give(slot);
  EXPECT_EQ(slots_.spare(), Pages{20});
  EXPECT_EQ(budget_.own(), Pages{20});
  check();
  const uint32_t again = slots_.take_for_load(PageSet::all());
  EXPECT_EQ(again, slot) << "spare pages are used before new ones";
  EXPECT_EQ(slots_.spare(), Pages{});
  EXPECT_EQ(slots_.present(again), PageSet::of({10, 20}));
  slots_.give(again);
}

TEST_F(SlotsTest, AFewPagesDoNotTakeARichSlotApart) {
  const uint32_t rich = slots_.take_for_load(PageSet::all());
  make(rich, {0, 512});
  slots_.give(rich);
  const uint32_t few = slots_.take_for_load(PageSet::of({0, 4}));
  EXPECT_NE(few, rich);
  EXPECT_TRUE(slots_.present(few).none());
  std::vector<uint32_t> others;
  for (int i = 0; i < 5; ++i) others.push_back(slots_.take_for_load(PageSet::of({0, 4})));
  EXPECT_EQ(std::count(others.begin(), others.end(), rich), 1) << "but when there is no other";
  EXPECT_EQ(slots_.take_for_load(PageSet::of({0, 4})), kNoSlot) << "nor a huge one";
  check();
}

// In use, nobody could free them: a third of the budget was lost to them once, beside random reads.
TEST_F(SlotsTest, ASlotForAFewPagesKeepsNoOthers) {
  std::vector<uint32_t> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(slots_.take_for_load(PageSet::all()));
    make(all.back(), {0, 400});
  }
  for (uint32_t s : all) slots_.give(s);
  ASSERT_EQ(budget_.own(), Pages{6 * 400});
  const uint32_t slot = slots_.take_for_load(PageSet::of({398, 4}));
  EXPECT_EQ(slots_.present(slot), PageSet::of({398, 2}));
  EXPECT_EQ(budget_.own(), Pages{5 * 400 + 2});
  EXPECT_EQ(slots_.spare(), Pages{5 * 400});
  check();
}

TEST_F(SlotsTest, SinglePagesDoNotStayWhereHugeOnesAreWanted) {
  for (int i = 0; i < 6; ++i) ASSERT_NE(slots_.take_empty(false), kNoSlot);
  const uint32_t slot = slots_.take_empty(false);
  ASSERT_GE(slot, kSlots - SlotPool::huge_slots(kSlots));
  make(slot, {3, 5});
  slots_.give(slot);
  EXPECT_EQ(slots_.spare(), Pages{});
  EXPECT_EQ(budget_.own(), Pages{});
  EXPECT_EQ(slots_.take_for_load(PageSet::all()), kNoSlot);
  EXPECT_NE(slots_.take_whole(), kNoSlot);
}

TEST_F(SlotsTest, AnEmptySlotIsEmpty) {
  std::vector<uint32_t> all;
  for (int i = 0; i < 6; ++i) {
    const uint32_t s = slots_.take_for_load(PageSet::all());
    make(s, {0, 7});
    all.push_back(s);
  }
  for (uint32_t s : all) slots_.give(s);
  const uint32_t w1 = whole(), w2 = whole();
  slots_.give(w1);
  slots_.give(w2);
  EXPECT_EQ(slots_.spare(), Pages{6 * 7 + 1024});
  for (unsigned i = 0; i < kSlots; ++i) {
    const uint32_t s = slots_.take_empty(i % 2);
    ASSERT_NE(s, kNoSlot);
    EXPECT_TRUE(slots_.present(s).none());
    EXPECT_FALSE(slots_.whole(s));
    check();
  }
  EXPECT_EQ(slots_.spare(), Pages{});
  EXPECT_EQ(budget_.own(), Pages{});
}

TEST_F(SlotsTest, AWholeSlotIsOneHugePageUntilPartOfItLeaves) {
  const uint32_t s = whole();
  bool huge = false;
  EXPECT_TRUE(k_.pages.present(slots_.address(s, 0), &huge).full());
  EXPECT_TRUE(huge);
  EXPECT_TRUE(slots_.whole(s));
  check();
  slots_.give(s);
  EXPECT_EQ(slots_.take_whole(), s) << "a spare huge page first";
  EXPECT_TRUE(slots_.whole(s));
  slots_.left(s, {});
  EXPECT_TRUE(slots_.whole(s)) << "nothing left it";
  ASSERT_FALSE(k_.pages.move(home_.begin, slots_.address(s, 0), Bytes{3 * kPageSize}).error);
  slots_.left(s, PageSet::of({0, 3}));
  EXPECT_FALSE(slots_.whole(s));
  EXPECT_EQ(slots_.present(s).count(), 509u);
  check();
  slots_.give(s);
  EXPECT_EQ(slots_.spare(), Pages{}) << "single pages are in the way of a huge one";
  EXPECT_EQ(slots_.take_whole(), s);
  EXPECT_FALSE(slots_.whole(s)) << "until it is made so";
}

TEST_F(SlotsTest, AWholeSlotLeavesAsOneAndComesBackAsOne) {
  const uint32_t s = whole();
  ASSERT_FALSE(k_.pages.move(home_.begin, slots_.address(s, 0), Bytes{kExtentSize}).error);
  slots_.left(s, PageSet::all());
  EXPECT_TRUE(slots_.present(s).none());
  EXPECT_FALSE(slots_.whole(s));
  check();
  slots_.give(s);
  const uint32_t back = slots_.take_empty(true);
  ASSERT_FALSE(k_.pages.move(slots_.address(back, 0), home_.begin, Bytes{kExtentSize}).error);
  slots_.entered(back, PageSet::all(), true);
  EXPECT_TRUE(slots_.whole(back));
  slots_.discard(back, PageSet::all());
  EXPECT_FALSE(slots_.whole(back));
  EXPECT_EQ(budget_.own(), Pages{});
  slots_.give(back);
}

// It came in as one, as far as we knew, and the kernel had taken it apart before.
TEST_F(SlotsTest, WhetherASlotIsStillWholeIsAskedOfTheKernel) {
  const uint32_t s = whole();
  EXPECT_TRUE(slots_.still_whole(s));
  slots_.discard(s, PageSet::all());
  make(s, {0, 256});
  make(s, {256, 256});
  slots_.entered(s, PageSet::all(), true);
  ASSERT_TRUE(slots_.whole(s));
  EXPECT_FALSE(slots_.still_whole(s));
  EXPECT_FALSE(slots_.whole(s));
}

TEST_F(SlotsTest, WithoutMemoryThereIsNoWholeSlotAndNothingStays) {
  k_.pages.script = [&](FakePages::Op op, Address a) {
    return op == FakePages::Op::kPopulate && a.page_in_extent() == 300 ? Errno{ENOMEM} : Errno{};
  };
  const uint32_t s = slots_.take_whole();
  ASSERT_TRUE(budget_.try_charge({kPagesPerExtent}));
  EXPECT_FALSE(slots_.make_whole(s));
  budget_.release({kPagesPerExtent});
  EXPECT_TRUE(slots_.present(s).none());
  EXPECT_FALSE(slots_.whole(s));
  check();
  slots_.give(s);
  EXPECT_EQ(slots_.spare(), Pages{});
}

TEST_F(SlotsTest, DiscardFreesWhatIsThereAndNoMore) {
  const uint32_t s = slots_.take_empty(false);
  make(s, {0, 8});
  make(s, {100, 4});
  slots_.discard(s, PageSet::of({4, 98}));
  EXPECT_EQ(slots_.present(s).count(), 6u);
  EXPECT_EQ(budget_.own(), Pages{6});
  check();
  slots_.discard(s, PageSet::of({200, 10}));
  EXPECT_EQ(budget_.own(), Pages{6}) << "nothing was there";
  slots_.discard(s, PageSet::all());
  EXPECT_EQ(budget_.own(), Pages{});
  check();
  slots_.give(s);
}

TEST_F(SlotsTest, SparePagesAreDroppedUntilThereIsEnough) {
  std::vector<uint32_t> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(slots_.take_for_load(PageSet::all()));
    make(all.back(), {0, 100});
  }
  const uint32_t in_use = all.back();
  all.pop_back();
  for (uint32_t s : all) slots_.give(s);
  slots_.give(whole());
  EXPECT_EQ(slots_.spare(), Pages{300 + 512});
  EXPECT_EQ(slots_.drop_spare({150}), Pages{200}) << "slot by slot, single pages first";
  EXPECT_EQ(slots_.spare(), Pages{100 + 512});
  check();
  EXPECT_EQ(slots_.drop_spare({10'000}), Pages{612});
  EXPECT_EQ(slots_.spare(), Pages{});
  EXPECT_EQ(slots_.drop_spare({1}), Pages{}) << "what is in use is not spare";
  EXPECT_EQ(slots_.present(in_use).count(), 100u);
  check();
  slots_.give(in_use);
}

TEST_F(SlotsTest, OpensAgainEmptyInTheSamePlaceAfterAFork) {
  const uint32_t s = slots_.take_for_load(PageSet::all());
  make(s, {0, 9});
  slots_.give(s);
  slots_.drop_spare({9});
  ASSERT_TRUE(slots_.open(range_).ok());
  EXPECT_EQ(slots_.used(), 0u);
  EXPECT_EQ(slots_.spare(), Pages{});
}

TEST(SlotPoolTest, AQuarterOfTheSlotsWantHugePages) {
  EXPECT_EQ(SlotPool::huge_slots(16), 4u);
  EXPECT_EQ(SlotPool::huge_slots(8192), 256u);
  EXPECT_EQ(SlotPool::huge_slots(3), 0u);
}

}  // namespace
}  // namespace ebb
