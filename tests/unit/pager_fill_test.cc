// Tests of runtime/pager/fill.cc: what walks through memory that is new get ahead of their touches.
#include <gtest/gtest.h>

#include "pager_world.h"

namespace ebb {
namespace {

using Op = FakePages::Op;

class PagerFillTest : public testing::TestWithParam<Tier> {
 protected:
  uint64_t faults() const { return w.control->counters.faults.load(); }
  void walk_down(AddressRange range) {
    for (uint64_t i = range.pages().count; i-- > 0;) w.write(page(range, i), 1 + i);
  }

  PagerWorld w{{.tier = GetParam(), .budget = {8192}}};  // nothing has to go
};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerFillTest, testing::Values(Tier::kDisk, Tier::kMemory, Tier::kCalls),
                         [](const auto& tier) {
                           return tier.param == Tier::kDisk ? "disk" : tier.param == Tier::kMemory ? "memory" : "calls";
                         });

// As memmove() fills a large object from its end.
TEST_P(PagerFillTest, WalksDownwardsGetHugePages) {
  const AddressRange a = w.add({1537});
  walk_down(a);
  EXPECT_LT(faults(), 8u);
  for (int extent = 0; extent < 3; ++extent) EXPECT_TRUE(w.extent(page(a, extent * kPagesPerExtent)).huge) << extent;
  EXPECT_FALSE(w.extent(page(a, 1536)).huge);
  w.expect_all(a, 1);
}

// Where no huge page fits: half extents, which others have the rest of.
TEST_P(PagerFillTest, WalksThroughPartsOfExtentsGetMoreWithEachFault) {
  const AddressRange up = w.add({256}, 256), down = w.add({256});
  w.write_all(up, 1);
  EXPECT_LT(faults(), 24u);
  const uint64_t before = faults();
  walk_down(down);
  EXPECT_LT(faults() - before, 24u);
  w.expect_all(up, 1);
  w.expect_all(down, 1);
}

// A page that is there already ends what is given with another, above it and below.
TEST_P(PagerFillTest, WhatIsThereIsLeftAlone) {
  const AddressRange a = w.add({256});
  w.write(page(a, 100), 7);
  w.write(page(a, 200), 8);
  for (uint64_t i = 255; i > 200; --i) w.write(page(a, i), i);
  for (uint64_t i = 0; i < 100; ++i) w.write(page(a, i), 1000 + i);
  w.expect(page(a, 100), 7);
  w.expect(page(a, 200), 8);
  for (uint64_t i = 201; i < 256; ++i) w.expect(page(a, i), i);
  for (uint64_t i = 0; i < 100; ++i) w.expect(page(a, i), 1000 + i);
}

// Guard pages, or what was reserved and not committed: it could not leave again.
TEST_P(PagerFillTest, WhatIsProtectedIsNotFilled) {
  const AddressRange a = w.add({512});
  const AddressRange below = {a.begin, page(a, 100)}, above = {page(a, 400), a.end};
  w.protect(below, FakePages::Access::kNone);
  w.protect(above, FakePages::Access::kNone);
  for (uint64_t i = 200; i < 400; ++i) w.write(page(a, i), i);
  for (uint64_t i = 199; i >= 100; --i) w.write(page(a, i), i);
  EXPECT_LT(faults(), 24u);
  EXPECT_EQ(w.k.pages.resident(below).count, 0u);
  EXPECT_EQ(w.k.pages.resident(above).count, 0u);
}

// The kernel stops in the middle of a piece: what it left is not charged, and the thread still gets its page.
TEST_P(PagerFillTest, WhatTheKernelRefusesIsAskedForAgain) {
  const AddressRange a = w.add({256});
  int refused = 0;
  w.k.pages.script = [&](Op op, Address at) {
    return op == Op::kCopy && w.index(at) % 7 == 3 && refused < 60 && ++refused % 2 ? Errno{EAGAIN} : Errno{};
  };
  walk_down(a);
  EXPECT_GT(refused, 2);
  w.expect_all(a, 1);
  EXPECT_EQ(w.charged(), 256u);
}

}  // namespace
}  // namespace ebb
