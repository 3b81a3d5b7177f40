// Tests of policy/: streams are told from random touches, and the fault-around window follows what is used of it.
#include <gtest/gtest.h>
#include <random>

#include "policy/neighbours.h"
#include "policy/streams.h"
#include "policy/strides.h"

namespace ebb {
namespace {

// Faults of a walk that is never helped, from `first` on; the stream as it is after the last.
Stream walk(Streams& streams, uint64_t first, int step, unsigned faults) {
  Stream last;
  for (unsigned i = 0; i < faults; ++i) last = streams.observe(first + static_cast<uint64_t>(step) * i);
  return last;
}

TEST(Streams, AWalkIsBelievedEitherWay) {
  Streams streams;
  const Stream up = walk(streams, 1000, 1, 4);
  EXPECT_EQ(up.direction, 1);
  EXPECT_GE(up.hits, Streams::kBelieved);
  EXPECT_EQ(up.next, 1004u);
  const Stream down = walk(streams, 5000, -1, 4);
  EXPECT_EQ(down.direction, -1);
  EXPECT_GE(down.hits, Streams::kBelieved);
  EXPECT_EQ(down.next, 4996u);
}

TEST(Streams, WhatWasProvidedIsSkipped) {
  Streams streams;
  Stream& s = streams.observe(100);
  Streams::provided(s, 116);
  const Stream& next = streams.observe(116);
  EXPECT_EQ(&next, &s);
  EXPECT_EQ(next.hits, 1u);
}

// Above the first touch of a walk downwards pages were given with it: it is one all the same.
TEST(Streams, WhatWasProvidedAboveDoesNotHideAWalkDownwards) {
  Streams streams;
  Streams::provided(streams.observe(100), 116);
  const Stream s = streams.observe(99);
  EXPECT_EQ(s.direction, -1);
  EXPECT_EQ(s.hits, 1u);
}

TEST(Streams, RandomTouchesAreNoWalks) {
  Streams streams;
  std::mt19937_64 random(3);
  unsigned believed = 0;
  for (int i = 0; i < 10000; ++i) believed += streams.observe(random() % 100'000'000).hits >= Streams::kBelieved;
  EXPECT_EQ(believed, 0u);
}

TEST(Streams, ManyWalksAtOnceBesideRandomTouches) {
  constexpr unsigned kWalks = Streams::kStreams / 2;
  Streams streams;
  std::mt19937_64 random(4);
  unsigned believed = 0;
  for (unsigned step = 0; step < 100; ++step) {
    for (unsigned w = 0; w < kWalks; ++w)
      believed += streams.observe((w + 1) * 1'000'000 + step).hits >= Streams::kBelieved;
    streams.observe(random() % 1000 * 10'000 + 500'000'000);
  }
  EXPECT_EQ(believed, kWalks * (100 - Streams::kBelieved));
}

TEST(Streams, AWalkThatEndedIsNotRecentForLong) {
  Streams streams;
  const Stream s = walk(streams, 10, 1, 5);
  EXPECT_TRUE(streams.recent(s));
  std::mt19937_64 random(5);
  for (unsigned i = 0; i < 4 * Streams::kStreams; ++i) streams.observe(random());
  EXPECT_FALSE(streams.recent(s));
}

TEST(Streams, AFaultThatIsToldAgainIsTheSameFault) {
  Streams streams;
  for (unsigned n = 0; n < 10; ++n) EXPECT_EQ(streams.observe(5000).hits, 0u);
  EXPECT_EQ(streams.observe(5001).hits, 1u);
  EXPECT_EQ(streams.observe(5001).hits, 1u);
}

TEST(Streams, AYoungWalkEarnsLittleAndAnOldOneMuch) {
  Streams streams;
  uint64_t before = 0;
  for (unsigned faults = 1; faults < 30; ++faults) {
    const uint64_t now = Streams::earned(walk(streams, 1000 * faults * faults, 1, faults));
    EXPECT_GE(now, before);
    before = now;
  }
  EXPECT_LE(Streams::earned(walk(streams, 77, 1, 3)), 16u) << "a row of three pages";
  EXPECT_EQ(before, 8192u);
}

TEST(Streams, KnowsWhatItProvided) {
  Streams streams;
  walk(streams, 100, 1, 3);
  EXPECT_FALSE(streams.provided(103));
  Streams::provided(streams.observe(103), 120);
  EXPECT_TRUE(streams.provided(110));
  EXPECT_FALSE(streams.provided(119)) << "expected, so it is told";
  EXPECT_FALSE(streams.provided(120));
  EXPECT_FALSE(streams.provided(103));
}

TEST(Streams, AWalkGoesOnBehindWhatCameWithoutBeingAskedFor) {
  Streams streams;
  ASSERT_EQ(walk(streams, 1000, 1, 6).hits, 5u);
  EXPECT_EQ(streams.observe(1506, 400).hits, 0u) << "not all of what lies between is there";
  EXPECT_EQ(streams.observe(1406, 400).hits, 6u);
  EXPECT_EQ(streams.observe(1407).hits, 7u);
}

// A walk that begins at the page `first`; steps are in bytes.
Stride stride(Strides& strides, uint64_t first, int64_t step, unsigned misses) {
  Stride last;
  for (unsigned i = 0; i < misses; ++i) last = strides.observe((first << kPageShift) + static_cast<uint64_t>(step * i));
  return last;
}

TEST(Strides, ConstantStepsAreBelievedInBothDirections) {
  for (const int64_t step :
       {int64_t{2} << 12, int64_t{125} << 12, -(int64_t{125} << 12), int64_t{32'000}, int64_t{-8'000'024}}) {
    Strides strides;
    EXPECT_EQ(Strides::steps(stride(strides, 1'000'000, step, 3)), 0u);
    EXPECT_EQ(Strides::steps(stride(strides, 1'000'000, step, 4)), 2u) << step;
  }
}

TEST(Strides, TheNextMissIsExpectedBehindWhatWasProvided) {
  Strides strides;
  constexpr uint64_t kStep = 41'000;  // ten pages and a little
  stride(strides, 1000, kStep, 3);
  unsigned steps = 0;
  for (uint64_t address = (1000 << kPageShift) + 3 * kStep, n = 0; n < 10; ++n) {
    Stride& s = strides.observe(address);
    EXPECT_EQ(&s, &strides.observe(align_down(address, kPageSize))) << "told again";
    EXPECT_GE(Strides::steps(s), steps);
    steps = Strides::steps(s);
    s.given = steps;
    address += kStep * (steps + 1);
  }
  EXPECT_EQ(steps, Strides::kMostSteps);
  EXPECT_EQ(Strides::steps(strides.observe(1005 << kPageShift)), 0u) << "out of step";
}

TEST(Strides, TwoWalksThatAreNear) {
  Strides strides;
  unsigned believed = 0;
  for (uint64_t n = 0; n < 50; ++n) {
    believed += Strides::steps(strides.observe(4'000'000'000 + n * 400'000)) > 0;
    believed += Strides::steps(strides.observe(4'050'000'000 + n * 16'900'000)) > 0;
  }
  EXPECT_GE(believed, 92u);
}

TEST(Strides, TwoWalksAtOnceAndRandomMissesBetween) {
  Strides strides;
  std::mt19937_64 random(7);
  unsigned believed = 0, by_chance = 0;
  for (uint64_t n = 0; n < 50; ++n) {
    believed += Strides::steps(strides.observe(4'000'000'000 + n * 400'000)) > 0;
    believed += Strides::steps(strides.observe(36'000'000'000 + n * 200'000)) > 0;
    by_chance += Strides::steps(strides.observe(random() % 4'000'000'000'000 + 400'000'000'000)) > 0;
  }
  EXPECT_EQ(believed, 94u);
  EXPECT_EQ(by_chance, 0u);
}

TEST(Neighbours, WindowFollowsUse) {
  Neighbours n;
  EXPECT_EQ(n.window(), 16u);
  for (unsigned i = 0; i < 10; ++i) n.dropped(24);
  EXPECT_EQ(n.window(), 1u);
  for (unsigned i = 0; i < 10; ++i) {
    n.missed(true, false);
    if (i % 2) n.missed(false, false);
  }
  EXPECT_EQ(n.window(), 1u) << "not in a row";
  for (unsigned i = 0; i < 100; ++i) n.missed(true, true);
  EXPECT_EQ(n.window(), 1u) << "everything is there";
  for (unsigned i = 0; i < 8; ++i) {
    n.missed(true, false);
    n.missed(true, true);
  }
  for (unsigned window : {4u, 16u, 64u, 256u, 256u}) {
    EXPECT_EQ(n.window(), window);
    EXPECT_LE(n.group(), n.window() < 16 ? 16 : n.window());
    n.touched(24);
  }
}

TEST(Neighbours, InBetweenNothingChanges) {
  Neighbours n;
  n.dropped(24);
  ASSERT_EQ(n.window(), 4u);
  for (int round = 0; round < 10; ++round) {
    n.touched(8);  // a third
    n.dropped(16);
    EXPECT_EQ(n.window(), 4u);
  }
}

TEST(Neighbours, ALargeWindowHasToEarnItsPlace) {
  Neighbours n;
  n.touched(24);
  ASSERT_EQ(n.window(), 64u);
  n.touched(11);
  n.dropped(13);
  EXPECT_EQ(n.window(), 16u) << "less than half";
  n.touched(14);
  n.dropped(10);
  EXPECT_EQ(n.window(), 16u) << "more than half is not enough to grow";
}

TEST(Neighbours, ASinglePageIsDoubtedNowAndThen) {
  Neighbours n;
  for (unsigned i = 0; i < 2; ++i) n.dropped(24);
  ASSERT_EQ(n.window(), 1u);
  unsigned more = 0;
  for (unsigned i = 0; i < 320; ++i) more += n.window_of_miss() > 1;
  EXPECT_EQ(more, 10u);
  EXPECT_EQ(n.window(), 1u);
}

TEST(Neighbours, SamplesAreSpread) {
  Neighbours n;
  unsigned seen[15] = {};
  for (unsigned i = 0; i < 15000; ++i) ++seen[n.pick(15)];
  for (unsigned count : seen) EXPECT_NEAR(count, 1000, 200);
}

}  // namespace
}  // namespace ebb
