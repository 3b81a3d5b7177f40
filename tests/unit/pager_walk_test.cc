// Tests of what the pager does with walks, whole extents and scans: read-ahead, huge pages, what stays.
#include <random>
#include <set>

#include "pager_on_tiers.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;

class PagerWalkTest : public PagerOnTiers {};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerWalkTest, kAllTiers, tier_name);

TEST_P(PagerWalkTest, WalksAreReadAheadForwardsAndBackwards) {
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

TEST_P(PagerWalkTest, RandomTouchesNarrowTheWindowToSinglePages) {
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

TEST_P(PagerWalkTest, AWholeExtentComesHomeByOneMove) {
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

TEST_P(PagerWalkTest, HugePagesLeaveAsOneAndReturnAsOne) {
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
TEST_P(PagerWalkTest, AnExtentIsGatheredAroundAFewResidentAndUntouchedPages) {
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

TEST_P(PagerWalkTest, AWalkThroughAnExtentWithAFewPagesHomeEndsInOneHugePage) {
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

TEST_P(PagerWalkTest, AWalkThroughAnExtentWithManyPagesHomeDoesNotWaitAtEachGap) {
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

// What a program uses beside a scan stays: its pages pass their time in limbo, but are touched there.
TEST_P(PagerWalkTest, AScanLeavesWhatIsInUse) {
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
TEST_P(PagerWalkTest, AStrideKeepsWhatItUsesAndNotWhatLiesBetween) {
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

}  // namespace
}  // namespace ebb
