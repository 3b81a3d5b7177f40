// Tests of pager/freeze.cc: what a snapshot stores is what the program had, what it writes while all is sealed stays
// its own, and the way back loses nothing.
#include <gtest/gtest.h>
#include <cerrno>
#include <random>

#include "pager_world.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;

// So many pages, from 1 on, after a snapshot: all of them are cold.
AddressRange come_back(PagerWorld& w, uint64_t pages) {
  const AddressRange a = w.add({pages});
  w.write_all(a, 1);
  EXPECT_FALSE(w.seal());
  w.take_back();
  return a;
}

class PagerFreezeTest : public testing::TestWithParam<Tier> {
 protected:
  // As the program does while all is sealed: nothing of it is ours to answer.
  void write_sealed(Address a, uint64_t value) {
    ASSERT_EQ(w.k.pages.touch(a, true), Touch::kDone);
    PagerWorld::fill(w.k.pages.contents(a), value);
  }
  void expect_sealed(Address a, uint64_t value) {
    ASSERT_EQ(w.k.pages.touch(a, false), Touch::kDone);
    ASSERT_TRUE(PagerWorld::holds(w.k.pages.contents(a), value)) << "page " << a.value;
  }

  PagerWorld w{{.tier = GetParam(), .budget = {2048}}};
};

TEST_P(PagerFreezeTest, AllIsReadableWhileItIsSealedAndAfterwards) {
  const AddressRange a = w.add({3000});
  w.write_all(a, 1);
  ASSERT_FALSE(w.seal());
  EXPECT_EQ(w.charged(), 0u) << "none of it is the job's own memory";
  EXPECT_EQ(w.extent(a.begin).resident.count(), 0u);
  for (uint64_t i = 0; i < 3000; ++i) expect_sealed(page(a, i), i + 1);
  w.take_back();
  w.expect_all(a, 1);
}

TEST_P(PagerFreezeTest, WhatIsWrittenWhileSealedStays) {
  const AddressRange a = w.add({1500});
  w.write_all(a, 1);
  ASSERT_FALSE(w.seal());
  for (uint64_t i = 0; i < 1500; i += 7) write_sealed(page(a, i), 9000 + i);
  w.take_back();
  EXPECT_EQ(w.charged(), 215u) << "what was written is memory again, and nothing else";
  for (uint64_t i = 0; i < 1500; ++i) w.expect(page(a, i), i % 7 ? i + 1 : 9000 + i);
}

TEST_P(PagerFreezeTest, WhatWasNeverTouchedOrIsZeroReadsAsZero) {
  const AddressRange a = w.add({2000});
  w.write_all({a.begin, page(a, 600)}, 1);
  w.write_all({page(a, 100), page(a, 200)}, 0);
  w.squeeze();
  w.forget({page(a, 300), page(a, 350)});  // its old contents are in the store's file
  ASSERT_FALSE(w.seal());
  for (uint64_t i = 0; i < 2000; ++i) {
    const bool zero = (i >= 100 && i < 200) || (i >= 300 && i < 350) || i >= 600;
    expect_sealed(page(a, i), zero ? 0 : i + 1);
  }
  write_sealed(page(a, 1999), 77);
  w.take_back();
  w.expect(page(a, 1999), 77);
  w.expect(page(a, 320), 0);
  w.expect(page(a, 599), 600);
}

TEST_P(PagerFreezeTest, WhatWasCleanedAheadIsNotWrittenTwice) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  ASSERT_FALSE(w.seal(true));
  const uint64_t once = w.counters().written_bytes.load();
  EXPECT_EQ(once, to_bytes({1024}).count);
  w.take_back();
  w.write(page(a, 5), 4242);
  ASSERT_FALSE(w.seal(true));
  EXPECT_EQ(w.counters().written_bytes.load() - once, kPageSize) << "a second snapshot stores what changed";
  expect_sealed(page(a, 5), 4242);
  expect_sealed(page(a, 6), 7);
}

TEST_P(PagerFreezeTest, AWriteToACleanPageIsSeen) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.forget({a.begin, page(a, 1)});  // else it is a huge page, of which one write concerns all
  w.write(a.begin, 1);
  Pager::CleanWalk walk;
  while (!w.pager.clean_ahead(walk, w.buffer)) {
  }
  EXPECT_TRUE(w.extent(a.begin).clean.full());
  ASSERT_EQ(w.k.pages.touch(page(a, 9), true), Touch::kFault) << "it is protected";
  w.write(page(a, 9), 555);
  EXPECT_FALSE(w.extent(a.begin).clean.test(9));
  EXPECT_TRUE(w.extent(a.begin).clean.test(300));
  ASSERT_FALSE(w.seal(false));
  expect_sealed(page(a, 9), 555);
  expect_sealed(page(a, 10), 11);
}

// The pager makes a page private by a write, and would wait for itself if it had protected the page.
TEST_P(PagerFreezeTest, CleanPagesThatTheKernelSharesAreMadePrivateAndLeave) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  Pager::CleanWalk walk;
  while (!w.pager.clean_ahead(walk, w.buffer)) {
  }
  ASSERT_TRUE(w.extent(a.begin).clean.any());
  w.k.pages.share(a);
  w.squeeze({400});
  EXPECT_LT(w.k.pages.resident(a), Pages{1024});
  w.expect_all(a, 1);
}

TEST_P(PagerFreezeTest, ProtectedAndLockedPagesStayWhatTheyAre) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  const AddressRange fenced = {page(a, 10), page(a, 20)}, locked = {page(a, 600), page(a, 610)};
  w.protect(fenced, FakePages::Access::kRead);
  w.lock(locked, false);
  ASSERT_FALSE(w.seal());
  EXPECT_EQ(w.charged(), 20u);
  expect_sealed(page(a, 15), 16);
  expect_sealed(page(a, 605), 606);
  w.take_back();
  w.expect(page(a, 15), 16);
  w.expect_all(locked, 601);
  w.expect(page(a, 700), 701);
}

TEST_P(PagerFreezeTest, AFullTierRefusesAndNothingHasChanged) {
  const AddressRange a = w.add({1500});
  w.write_all(a, 1);
  w.k.files.set_capacity(w.k.files.used() + Bytes{kExtentSize});
  EXPECT_EQ(w.seal().value, ENOSPC);
  w.k.files.set_capacity({uint64_t{1} << 30});
  w.expect_all(a, 1);
  ASSERT_FALSE(w.seal());
  w.take_back();
  w.expect_all(a, 1);
}

TEST(PagerFreezeDiskTest, ALostPageRefuses) {
  PagerWorld w{{.budget = {2048}}};
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  w.squeeze({400});
  Extent& e = w.extent(a.begin);
  ASSERT_TRUE(e.cold().any());
  const unsigned i = e.cold().next(0);
  const SlotPlace place = w.store.place(e, i);
  w.k.files.corrupt(place.fd, place.offset);
  EXPECT_EQ(w.touch(e.page(i), false), Touch::kBus);
  EXPECT_EQ(w.seal().value, EIO);
}

// Where the store keeps the hash of a page.
SlotPlace hash_of(PagerWorld& w, const Extent& e, unsigned i) {
  SlotPlace place = w.store.place(e, i);  // the same layer, in these tests
  place.offset = (uint64_t{e.record.area} << kExtentShift) + e.record.slot * kPageSize + i * sizeof(PageHash);
  return place;
}

TEST_P(PagerFreezeTest, HashesAreKeptByTheStoreAndOnlyAnewForWhatChanged) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  const auto snapshot = [&] {
    ASSERT_FALSE(w.seal());
    EXPECT_EQ(w.extent(a.begin).hashes, nullptr) << "no snapshot holds them";
    w.take_back();
  };
  const auto place = [&](uint64_t i) {
    return hash_of(w, w.extent(page(a, i)), 0).offset + w.extent(page(a, i)).record.layer;
  };
  snapshot();
  const uint64_t first = place(0), second = place(512);
  EXPECT_NE(first, second);
  snapshot();
  EXPECT_EQ(place(0), first);
  EXPECT_EQ(place(512), second);
  w.write(page(a, 5), 4242);
  snapshot();
  EXPECT_NE(place(0), first);
  EXPECT_EQ(place(512), second);
  w.write(page(a, 5), 6);
  w.expect_all(a, 1);
}

TEST_P(PagerFreezeTest, AHashThatIsNotWhatWasKeptLosesItsPageOnly) {
  const AddressRange a = come_back(w, 512);
  const Extent& e = w.extent(a.begin);
  const SlotPlace place = hash_of(w, e, 7);
  w.k.files.corrupt(place.fd, place.offset);
  EXPECT_EQ(w.touch(page(a, 7), false), Touch::kBus);
  w.expect(page(a, 6), 7);
  w.expect(page(a, 8), 9);
}

TEST_P(PagerFreezeTest, AMappingThatFailsIsMended) {
  const AddressRange a = w.add({2000});
  w.write_all(a, 1);
  int calls = 0;
  w.k.pages.script = [&](FakePages::Op op, Address) {
    return op == FakePages::Op::kMapFile && ++calls == 1 ? Errno{ENOMEM} : Errno{};
  };
  const Errno failed = w.seal();
  w.k.pages.script = nullptr;
  EXPECT_EQ(failed.value, ENOMEM);
  w.take_back();
  w.expect_all(a, 1);
}

TEST_P(PagerFreezeTest, WithoutItsToolItIsOrdinaryMemory) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  ASSERT_FALSE(w.seal());
  write_sealed(page(a, 3), 99);
  w.pager.let_all_go();
  EXPECT_EQ(w.store.size().count, 0u);
  EXPECT_EQ(w.table.size(), 0u);
  expect_sealed(page(a, 3), 99);
  expect_sealed(page(a, 4), 5);
}

TEST_P(PagerFreezeTest, AHookThatWaitsFindsItsStackAtHome) {
  const AddressRange a = w.add({512});
  w.write_all(a, 1);
  ASSERT_FALSE(w.seal());
  w.extent(a.begin).held = 1;
  w.take_back();
  EXPECT_EQ(w.k.pages.resident(a), Pages{512});
  w.extent(a.begin).held = 0;
  w.expect_all(a, 1);
}

TEST_P(PagerFreezeTest, WhatWasInDramIsBroughtBackAhead) {
  const AddressRange a = w.add({3000});
  w.write_all(a, 1);
  const uint64_t before = w.charged();
  ASSERT_FALSE(w.seal());
  write_sealed(page(a, 2999), 77);
  w.take_back();
  EXPECT_LT(w.charged(), 10u);
  w.pager.begin_prefetch();
  w.quiet();
  EXPECT_GT(w.charged(), before / 2) << "as far as there is room, in whole extents";
  w.expect(page(a, 2999), 77);
  w.expect_all({a.begin, page(a, 2999)}, 1);
}

TEST_P(PagerFreezeTest, WhatWasNotYetBroughtBackIsStillWantedAfterTheNextSnapshot) {
  const AddressRange a = w.add({1024});
  w.write_all(a, 1);
  const uint64_t before = w.charged();
  ASSERT_FALSE(w.seal());
  w.take_back();
  w.pager.begin_prefetch();
  w.pager.set_freezing(true);
  const uint64_t held = w.charged();
  for (int n = 0; n < 100; ++n) w.step(20'000'000);
  EXPECT_EQ(w.charged(), held) << "nothing comes back while a snapshot is taken";
  ASSERT_FALSE(w.seal());
  w.take_back();
  w.pager.begin_prefetch();
  w.pager.set_freezing(false);
  w.step(20'000'000);
  w.quiet();
  EXPECT_EQ(w.charged(), before);
  w.expect_all(a, 1);
}

TEST(PagerFreezeDiskTest, HashesThatCannotBeReadAtOnceAreReadAgain) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {2048}}};
  const AddressRange a = come_back(w, 1024);
  const uint64_t first = hash_of(w, w.extent(a.begin), 0).offset;
  const uint64_t second = hash_of(w, w.extent(page(a, 512)), 0).offset;
  int refused = 0;
  w.k.files.call_script = [&](bool, int, uint64_t offset) {
    const bool refuse = offset == second || (offset == first && refused == 0);
    refused += refuse;
    return refuse ? Errno{EIO} : Errno{};
  };
  w.expect(page(a, 3), 4);
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(w.touch(page(a, 600), false), Touch::kBus) << "whether it is what was written nobody can tell";
  EXPECT_EQ(refused, 3);
  w.k.files.call_script = nullptr;
  w.expect(page(a, 4), 5);
}

TEST(PagerFreezeDiskTest, WhatThePageCacheHasIsThereAtOnce) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {2048}}};
  const AddressRange a = come_back(w, 3000);
  w.k.files.cached = true;
  ASSERT_EQ(w.k.pages.touch(page(a, 1000), false), Touch::kFault);
  w.step();
  EXPECT_EQ(w.k.pages.touch(page(a, 1000), false), Touch::kDone) << "no transfer was waited for";
  EXPECT_EQ(w.charged(), 3u) << "with its window of four, but for the sample";
  w.expect(page(a, 1001), 1002);
  const SlotPlace place = w.store.place(w.extent(page(a, 2000)), w.index(page(a, 2000)));
  w.k.files.corrupt(place.fd, place.offset);
  EXPECT_EQ(w.touch(page(a, 2000), false), Touch::kBus);
  w.k.files.cached = false;
  w.expect_all({a.begin, page(a, 1999)}, 1);
  w.k.files.cached = true;
  w.expect_all({page(a, 2001), a.end}, 2002);
}

// What is read ahead of a walk then comes home unasked, and the walk is not told: it must not pass for many short ones,
// whose pages come in small pieces.
TEST(PagerFreezeDiskTest, AWalkBesideThePrefetchStaysOne) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {16384}, .slots = 64}};
  const uint64_t extents = 16;
  const AddressRange a = come_back(w, extents * 512);
  w.pager.begin_prefetch();
  const uint64_t before = w.counters().faults.load();
  w.expect_all(a, 1);
  EXPECT_LT(w.counters().faults.load() - before, 3 * extents);
  uint64_t huge = 0;
  for (uint64_t i = 0; i < extents; ++i) huge += w.extent(page(a, i * 512)).huge;
  EXPECT_GT(huge, extents / 2);
}

// From memory pages come one by one, and nobody waits for it.
TEST(PagerFreezeDiskTest, WhoWaitsForAPageHasTheDeviceForItselfAtFirst) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {2048}}};
  const AddressRange a = come_back(w, 3000);
  w.expect(page(a, 1500), 1501);
  const uint64_t before = w.charged();
  w.pager.begin_prefetch();
  for (int n = 0; n < 100; ++n) {
    w.step();
    EXPECT_NE(w.pager.idle_ns(), 0u);
  }
  EXPECT_EQ(w.charged(), before);
  w.step(20'000'000);  // nobody has waited for a while
  w.quiet();
  EXPECT_GT(w.charged(), before + 500);
}

TEST(PagerFreezeDiskTest, WhatWasWorthReadingBesideAPageIsLearntAnew) {
  PagerWorld w{{.tier = Tier::kDisk, .budget = {2048}}};
  const AddressRange a = come_back(w, 6000);
  const uint64_t before = w.charged();
  w.expect(page(a, 2900), 2901);
  EXPECT_LE(w.charged() - before, 4u);
}

// Many snapshots of a program that writes, forgets and reads at random, with eviction going on.
TEST_P(PagerFreezeTest, GenerationsKeepEveryPage) {
  constexpr uint64_t kPages = 3500;
  std::mt19937 random(20261128);
  const AddressRange a = w.add({kPages}, 3);
  std::vector<uint64_t> value(kPages, 0);
  for (int generation = 0; generation < 12; ++generation) {
    for (int n = 0; n < 900; ++n) {
      const uint64_t i = random() % kPages;
      if (random() % 40 == 0) {
        const uint64_t end = std::min<uint64_t>(i + random() % 60 + 1, kPages);
        w.forget({page(a, i), page(a, end)});
        for (uint64_t k = i; k < end; ++k) value[k] = 0;
      } else if (random() % 3) {
        w.write(page(a, i), value[i] = random() % 5 ? random() + 1 : 0);
      } else {
        w.expect(page(a, i), value[i]);
      }
      if (HasFatalFailure()) return;
    }
    ASSERT_FALSE(w.seal(random() % 2));
    for (int n = 0; n < 200; ++n) {
      const uint64_t i = random() % kPages;
      random() % 2 ? write_sealed(page(a, i), value[i] = random() + 1) : expect_sealed(page(a, i), value[i]);
      if (HasFatalFailure()) return;
    }
    w.take_back();
    if (generation % 2) w.pager.begin_prefetch();
  }
  for (uint64_t i = 0; i < kPages; ++i) w.expect(page(a, i), value[i]);
}

std::string name_of(const testing::TestParamInfo<Tier>& tier) {
  return tier.param == Tier::kDisk ? "disk" : tier.param == Tier::kMemory ? "memory" : "calls";
}
INSTANTIATE_TEST_SUITE_P(Tiers, PagerFreezeTest, testing::Values(Tier::kDisk, Tier::kMemory, Tier::kCalls), name_of);

}  // namespace
}  // namespace ebb
