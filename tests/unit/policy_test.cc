// Tests of policy/: streams are told from random touches, and the fault-around window follows what is used of it.
#include <gtest/gtest.h>
#include <random>

#include "policy/neighbours.h"
#include "policy/streams.h"

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

TEST(Neighbours, WindowFollowsUse) {
  Neighbours n;
  EXPECT_EQ(n.window(), 16u);
  for (unsigned i = 0; i < 10; ++i) n.dropped(24);
  EXPECT_EQ(n.window(), 1u);
  for (unsigned i = 0; i < 10; ++i) {
    n.beside();
    if (i % 2) n.alone();
  }
  EXPECT_EQ(n.window(), 1u) << "not in a row";
  for (unsigned i = 0; i < 8; ++i) n.beside();
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
