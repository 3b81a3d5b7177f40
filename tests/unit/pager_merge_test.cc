// Tests of pager/merge.cc: a process that is sealed again and again keeps few layers, and every page.
#include <gtest/gtest.h>

#include "pager_world.h"

namespace ebb {
namespace {

class PagerMergeTest : public testing::TestWithParam<Tier> {
 protected:
  // Until the smallest layer is empty, or cannot be emptied.
  Pager::MergeWalk merge() {
    Pager::MergeWalk walk;
    while (!w.pager.merge_step(walk, w.buffer)) w.check();
    w.check();
    return walk;
  }
  // Writes `count` pages from `first` on and has them stored in a layer of their own.
  void layer(AddressRange a, uint64_t first, uint64_t count, uint64_t value) {
    w.write_all({page(a, first), page(a, first + count)}, value);
    w.squeeze();
    w.drain();
    w.store.seal();
  }

  PagerWorld w{{.tier = GetParam(), .budget = {2048}}};
};

TEST_P(PagerMergeTest, WhatIsLeftOfALayerMovesAndTheLayerEnds) {
  const AddressRange a = w.add({1024});
  layer(a, 0, 1024, 1);
  layer(a, 10, 1000, 5000);  // of the first layer 24 pages are left
  layer(a, 20, 900, 9000);
  const int smallest = w.store.smallest_sealed();
  ASSERT_GE(smallest, 0);
  const auto walk = merge();
  EXPECT_EQ(walk.layer, smallest);
  EXPECT_FALSE(w.store.is_sealed(static_cast<unsigned>(smallest)));
  while (w.store.smallest_sealed() >= 0) merge();
  for (uint64_t i = 0; i < 1024; ++i)
    w.expect(page(a, i), i >= 20 && i < 920 ? 9000 + i - 20 : i >= 10 && i < 1010 ? 5000 + i - 10 : i + 1);
}

TEST_P(PagerMergeTest, ADeviceThatTakesNothingLosesNothing) {
  const AddressRange a = w.add({1024});
  layer(a, 0, 1024, 1);
  w.k.files.set_capacity(w.k.files.used());
  const auto walk = merge();
  EXPECT_TRUE(w.store.is_sealed(static_cast<unsigned>(walk.layer)));
  EXPECT_EQ(w.store.smallest_sealed(), -1) << "it is not tried again and again";
  w.expect_all(a, 1);
  w.k.files.set_capacity({uint64_t{1} << 30});
  w.store.keep_no_layer();
  EXPECT_EQ(w.store.smallest_sealed(), walk.layer);
}

TEST_P(PagerMergeTest, ManySealsNeverUseUpTheLayers) {
  const AddressRange a = w.add({4 * kPagesPerExtent});
  uint64_t value = 1;
  for (unsigned n = 0; n < 2 * Store::kMaxLayers; ++n) {
    // Each extent keeps something of each layer for long.
    for (uint64_t e = 0; e < 4; ++e) w.write(page(a, e * kPagesPerExtent + n % kPagesPerExtent), value++);
    w.squeeze();
    w.drain();
    w.store.seal();
    Pager::MergeWalk walk;
    while (w.store.wants_merging())
      if (w.pager.merge_step(walk, w.buffer)) walk = {};
    ASSERT_FALSE(w.store.crowded());
  }
  for (uint64_t n = 0; n < 2 * Store::kMaxLayers; ++n)
    for (uint64_t e = 0; e < 4; ++e) w.expect(page(a, e * kPagesPerExtent + n % kPagesPerExtent), n * 4 + e + 1);
}

TEST_P(PagerMergeTest, PagesHereAndThereDoNotCutTheHeapToPiecesForEver) {
  constexpr uint64_t kExtents = 6, kPages = 256;
  const AddressRange a = w.add({kExtents * kPagesPerExtent});
  layer(a, 0, kExtents * kPagesPerExtent, 1);
  const auto pieces = [&] {
    unsigned n = 0;
    w.table.for_all([&](Extent& e) { n += Store::pieces(e, e.stored); });
    return n;
  };
  EXPECT_EQ(pieces(), kExtents);
  EXPECT_EQ(w.pager.most_pieces(), kPagesPerExtent) << "nothing to do";
  // The last extent has few.
  for (uint64_t n = 0; n < kPages; ++n)
    for (uint64_t e = 0; e < kExtents; ++e)
      if (e + 1 < kExtents || n == 0) w.write(page(a, e * kPagesPerExtent + 2 * n), 100'000 + n * kExtents + e);
  for (int n = 0; n < 3; ++n) {  // all of it, what was touched a moment ago too
    w.k.clock.advance(2'000'000'000);
    w.squeeze();
  }
  w.drain();
  w.store.seal();
  const unsigned many = pieces();
  EXPECT_GT(many, 2 * kPages * (kExtents - 1));
  Address next{};
  while (!w.pager.gather_step(next, 10, w.buffer)) w.check();
  w.check();
  EXPECT_LT(pieces(), 10u);
  for (uint64_t n = 0; n < kPagesPerExtent; ++n)
    for (uint64_t e = 0; e < kExtents; ++e) {
      const bool written = n % 2 == 0 && (e + 1 < kExtents || n == 0);
      w.expect(page(a, e * kPagesPerExtent + n),
               written ? 100'000 + n / 2 * kExtents + e : e * kPagesPerExtent + n + 1);
    }
}

TEST_P(PagerMergeTest, WhatIsInTooManyPiecesIsKnown) {
  // 40 extents of 512 pieces each are more than a process should have mapped.
  constexpr uint64_t kExtents = 40;
  const AddressRange a = w.add({kExtents * kPagesPerExtent});
  layer(a, 0, kExtents * kPagesPerExtent, 1);
  for (uint64_t e = 0; e < kExtents; ++e)
    for (uint64_t n = 0; n < (e < 30 ? kPagesPerExtent : 20); n += 2) w.write(page(a, e * kPagesPerExtent + n), 7);
  w.squeeze();
  w.drain();
  w.store.seal();
  const unsigned most = w.pager.most_pieces();
  EXPECT_LT(most, kPagesPerExtent);
  EXPECT_GE(most, 20u) << "who has few keeps them";
}

TEST_P(PagerMergeTest, FilesThatTakeTurnsAreTooManyPiecesToo) {
  // No piece is beside another one, as between pages that were never touched, but each is of another file.
  constexpr uint64_t kExtents = 40;
  const AddressRange a = w.add({kExtents * kPagesPerExtent});
  for (const uint64_t first : {0, 2}) {
    for (uint64_t i = first; i < kExtents * kPagesPerExtent; i += 4) w.write(page(a, i), i + 1);
    for (int n = 0; n < 3; ++n) {
      w.k.clock.advance(2'000'000'000);
      w.squeeze();
    }
    w.drain();
    w.store.seal();
  }
  const unsigned most = w.pager.most_pieces();
  EXPECT_LT(most, kPagesPerExtent);
  Address next{};
  while (!w.pager.gather_step(next, most, w.buffer)) w.check();
  EXPECT_EQ(w.pager.most_pieces(), kPagesPerExtent) << "nothing is left to do";
  for (uint64_t i = 0; i < kExtents * kPagesPerExtent; i += 2) w.expect(page(a, i), i + 1);
}

INSTANTIATE_TEST_SUITE_P(Tiers, PagerMergeTest, testing::Values(Tier::kDisk, Tier::kMemory, Tier::kCalls));

TEST(PagerMergeDiskTest, ADamagedPageStaysWhereItIsFoundOut) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {2048}}};
  const AddressRange a = w.add({512});
  w.write_all(a, 1);
  w.squeeze();
  w.drain();
  w.store.seal();
  const SlotPlace place = w.store.place(w.extent(a.begin), 100);
  w.k.files.corrupt(place.fd, place.offset + 17);
  Pager::MergeWalk walk;
  while (!w.pager.merge_step(walk, w.buffer)) {
  }
  EXPECT_TRUE(w.store.is_sealed(static_cast<unsigned>(walk.layer)));
  EXPECT_EQ(w.touch(page(a, 100), false), FakePages::Touch::kBus);
  w.expect(page(a, 99), 100);
  w.expect(page(a, 101), 102);
}

}  // namespace
}  // namespace ebb
