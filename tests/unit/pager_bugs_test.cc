// Tests of runtime/pager that failed on the day they were written: each was a bug of the pager, and says what it was.
#include <gtest/gtest.h>

#include "pager_world.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;

// balance() takes spare pages for room, also when there is no room at all: after the budget gave way or was lowered,
// charged memory stays over it for as long as nobody asks for room.
TEST(PagerBugsTest, SparePagesDoNotKeepTheJobOverItsBudget) {
  PagerWorld w;
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  w.expect_all(a, 1);
  w.strict = false;
  w.control->budget.store(to_bytes({1024}).count);
  for (int n = 0; n < 100; ++n) w.step(100'000'000);
  EXPECT_LE(w.charged(), 1024u);
}

// copy_from_slot() charges the copy without asking for room and without counting what that is over the budget; the
// slot's page is charged until the slot is given back.
TEST(PagerBugsTest, PagesCopiedHomeBehindAFenceStayWithinTheBudget) {
  PagerWorld w;
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  w.squeeze({640});
  w.protect(range_at(a.begin, 1024 * kPageSize), FakePages::Access::kRead);
  w.exact = true;
  for (uint64_t i = 0; i < 1024 && !HasFailure(); ++i) w.expect(page(a, i), 1 + i);
}

// Everything else is locked and the budget is full: what is granted over it is evicted again in the same round, before
// the thread can have touched it, round after round.
TEST(PagerBugsTest, WhatWasJustGrantedIsNotEvictedBeforeItsThreadRan) {
  PagerWorld w;
  const AddressRange a = w.add({2048}), b = w.add({512});
  w.lock(a, true);
  w.write_all(a, 1);
  bool granted = false;
  ASSERT_EQ(w.k.pages.touch(b.begin, true), Touch::kFault);
  for (int n = 0; n < 20'000 && w.k.pages.waits(1); ++n) w.step();
  ASSERT_FALSE(w.k.pages.waits(1)) << "the budget did not give way";
  granted = w.k.pages.touch(b.begin, true) == Touch::kDone;
  for (int n = 0; n < 50 && !granted; ++n) {
    w.step();
    granted = w.k.pages.touch(b.begin, true) == Touch::kDone;
  }
  EXPECT_TRUE(granted) << "given and taken away 50 times";
}

// All of the main queue is taken back from the kernel and found to be empty: pick_victim() went on with a queue that
// had no front any more.
TEST(PagerBugsTest, AQueueOfWhatWasNeverTouchedComesToItsEnd) {
  PagerWorld w;
  w.pager.abandon();  // free-run: all of it counts
  const AddressRange a = w.add({2048});
  ASSERT_TRUE(w.pager.open(w.slots, &w.k.io).ok());
  const AddressRange b = w.add({2048});
  w.write_all(b, 1);
  w.expect_all(b, 1);
  w.expect_all(a, 0);
}

// lost_page() marks the page as locked by the program; giving its contents back does not end that.
TEST(PagerBugsTest, ALostPageThatIsGivenBackIsAnOrdinaryPageAgain) {
  PagerWorld w;
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  for (int n = 0; n < 3; ++n) {
    w.squeeze({640});
    w.k.clock.advance(2'000'000'000);
  }
  ASSERT_TRUE(w.extent(a.begin).cold().test(7));
  const SlotPlace place = w.store.place(w.extent(a.begin), 7);
  w.k.files.corrupt(place.fd, place.offset);
  ASSERT_EQ(w.touch(page(a, 7), false), Touch::kBus);
  w.forget(range_at(page(a, 7), kPageSize));
  w.expect(page(a, 7), 0);
  EXPECT_FALSE(w.extent(a.begin).pinned.test(7)) << "it can never be evicted";
}

}  // namespace
}  // namespace ebb
