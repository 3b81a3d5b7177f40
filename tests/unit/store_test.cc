// Tests of store/store.h: where stored pages are, over several layers, and what a full or failing tier does.
#include "store/store.h"

#include <gtest/gtest.h>
#include <cerrno>
#include <set>
#include <vector>

#include "fake_kernel.h"
#include "loose_extent.h"

namespace ebb {
namespace {

class StoreTest : public testing::Test {
 protected:
  StoreTest() { store_.set_seed(42); }
  // A write of `run` that is complete.
  void put(Extent& e, PageRun run) {
    const auto entry = store_.writable(e);
    ASSERT_TRUE(entry.ok()) << entry.error().value;
    store_.commit(e, *entry.value(), PageSet::of(run));
  }
  unsigned entries(const Extent& e) {
    unsigned n = 0;
    for (const StoreEntry* s = e.store; s; s = s->below) ++n;
    return n;
  }
  static PageSet set(unsigned first, unsigned count) { return PageSet::of({first, count}); }

  FakeFiles files_;
  Arena arena_;
  Store store_{arena_, files_};
  LooseExtent a_, b_;
};

class MemoryStoreTest : public StoreTest {
 protected:
  MemoryStoreTest() {
    files_.byte_addressable = true;
    store_.set_byte_addressable(true);
  }
};

TEST_F(StoreTest, NothingIsMadeBeforeItIsNeeded) {
  EXPECT_EQ(files_.open_files(), 0u);
  EXPECT_EQ(store_.size(), Bytes{});
  store_.seal();
  EXPECT_EQ(files_.open_files(), 0u);
}

TEST_F(StoreTest, AnExtentIsOneAreaInTheOrderOfItsPages) {
  put(a_, {0, 4});
  put(b_, {100, 1});
  put(a_, {4, 1});
  EXPECT_EQ(entries(a_), 1u);
  EXPECT_EQ(a_.stored, set(0, 5));
  EXPECT_EQ(store_.place(a_, 3).offset, store_.place(a_, 0).offset + 3 * kPageSize);
  EXPECT_EQ(store_.place(a_, 0).offset % kExtentSize, 0u);
  EXPECT_EQ(store_.place(b_, 100).offset % kExtentSize, 100 * kPageSize);
  EXPECT_NE(store_.place(a_, 0).offset / kExtentSize, store_.place(b_, 100).offset / kExtentSize);
  EXPECT_EQ(store_.place(a_, 0).fd, store_.place(b_, 100).fd);
  EXPECT_EQ(store_.place(a_, 0).mapped, nullptr);
  EXPECT_EQ(store_.size(), Bytes{2 * kExtentSize});
  EXPECT_EQ(files_.open_files(), 1u);
}

TEST_F(StoreTest, ForgettingTheLastPageFreesTheArea) {
  put(a_, {0, 8});
  const uint64_t offset = store_.place(a_, 0).offset;
  store_.forget(a_, set(0, 4));
  EXPECT_EQ(a_.stored, set(4, 4));
  EXPECT_EQ(entries(a_), 1u);
  store_.forget(a_, PageSet::all());
  EXPECT_TRUE(a_.stored.none());
  EXPECT_EQ(a_.store, nullptr);
  EXPECT_EQ(store_.size(), Bytes{});
  put(b_, {0, 1});
  EXPECT_EQ(store_.place(b_, 0).offset, offset) << "the area is used again";
  EXPECT_EQ(files_.open_files(), 1u);
}

TEST_F(StoreTest, AnEntryStaysWhileAWriteIntoItIsUnderWay) {
  const auto entry = store_.writable(a_);
  ASSERT_TRUE(entry.ok());
  Store::begin_write(*entry.value());
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(a_.store, entry.value());
  Store::end_write(*entry.value());
  store_.commit(a_, *entry.value(), set(0, 2));
  EXPECT_EQ(a_.stored, set(0, 2));
  EXPECT_EQ(a_.store, entry.value());
}

TEST_F(StoreTest, ANewerLayerSupersedesAnOlderOne) {
  put(a_, {0, 10});
  const int first = store_.place(a_, 0).fd;
  store_.seal();
  put(a_, {5, 10});
  const int second = store_.place(a_, 5).fd;
  EXPECT_NE(first, second);
  EXPECT_EQ(store_.place(a_, 4).fd, first);
  EXPECT_EQ(store_.place(a_, 9).fd, second);
  EXPECT_EQ(entries(a_), 2u);
  EXPECT_EQ(a_.stored, set(0, 15));
  EXPECT_EQ(files_.open_files(), 2u);
  put(a_, {0, 5});
  EXPECT_EQ(entries(a_), 1u) << "nothing of the older one is needed";
  EXPECT_EQ(files_.open_files(), 1u) << "so its file is closed";
  EXPECT_EQ(store_.place(a_, 0).fd, second);
  EXPECT_EQ(store_.size(), Bytes{kExtentSize});
}

TEST_F(StoreTest, FreeAreasAreGivenBackAheadAndReservedWhenTheyAreUsedAgain) {
  put(a_, {0, 1});
  put(b_, {0, 1});
  store_.forget(a_, PageSet::all());
  store_.forget(b_, PageSet::all());
  const uint64_t all = files_.used().count;
  EXPECT_FALSE(store_.trim_free_areas(1));
  EXPECT_EQ(files_.used().count, all - kExtentSize);
  EXPECT_TRUE(store_.trim_free_areas(1));
  EXPECT_EQ(files_.used().count, all - 2 * kExtentSize);
  EXPECT_TRUE(store_.trim_free_areas(8));
  put(a_, {0, 1});
  EXPECT_EQ(files_.used().count, all - kExtentSize) << "all of the area, or a later page might find none";
}

TEST_F(StoreTest, RecordsKeepTheirLayerUntilTheyAreForgotten) {
  std::vector<PageHash> hashes(kPagesPerExtent), back(kPagesPerExtent);
  hashes[3] = {77};
  a_.hashes = b_.hashes = hashes.data();
  put(a_, {0, 1});
  put(b_, {0, 1});
  ASSERT_FALSE(store_.keep_record(a_));
  ASSERT_FALSE(store_.keep_record(b_));
  const unsigned layer = a_.record.layer;
  EXPECT_NE(a_.record.slot, b_.record.slot);
  store_.trim_unused();
  store_.seal();
  ASSERT_FALSE(store_.read_record(a_, back.data()));
  EXPECT_EQ(back, hashes);
  put(a_, {0, 1});
  put(b_, {0, 1});
  EXPECT_TRUE(store_.is_sealed(layer)) << "no page of it is needed any more, but the records are";
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(a_.record.layer, kNoLayer) << "there is no page that it could be of";
  EXPECT_TRUE(store_.is_sealed(layer));
  ASSERT_FALSE(store_.keep_record(b_));
  EXPECT_FALSE(store_.is_sealed(layer));
}

TEST_F(StoreTest, ARecordThatFindsNoSpaceIsNone) {
  std::vector<PageHash> hashes(kPagesPerExtent);
  a_.hashes = hashes.data();
  put(a_, {0, 1});
  store_.seal();
  files_.set_capacity(files_.used());
  EXPECT_EQ(store_.keep_record(a_).value, ENOSPC);
  EXPECT_EQ(a_.record.layer, kNoLayer);
}

TEST_F(StoreTest, ContiguousRunsEndWhereTheLayerOrTheRunEnds) {
  put(a_, {0, 10});
  store_.seal();
  put(a_, {4, 2});
  EXPECT_EQ(store_.contiguous(a_, 0, 512), 4u);
  EXPECT_EQ(store_.contiguous(a_, 4, 512), 2u);
  EXPECT_EQ(store_.contiguous(a_, 6, 512), 4u);
  EXPECT_EQ(store_.contiguous(a_, 6, 3), 3u);
  EXPECT_EQ(store_.contiguous(a_, 10, 512), 0u) << "not stored";
  put(b_, {510, 2});
  EXPECT_EQ(store_.contiguous(b_, 510, 512), 2u);
}

TEST_F(StoreTest, ForgetReachesEveryLayer) {
  put(a_, {0, 3});
  store_.seal();
  put(a_, {1, 1});
  store_.seal();
  put(a_, {2, 1});
  EXPECT_EQ(entries(a_), 3u);
  EXPECT_EQ(files_.open_files(), 3u);
  store_.forget(a_, set(0, 2));
  EXPECT_EQ(a_.stored, set(2, 1));
  EXPECT_EQ(entries(a_), 1u);
  EXPECT_EQ(files_.open_files(), 1u);
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(entries(a_), 0u);
  EXPECT_EQ(files_.open_files(), 1u) << "the writable layer stays for what comes";
  store_.seal();
  EXPECT_EQ(files_.open_files(), 0u) << "and goes when it is sealed empty";
}

TEST_F(StoreTest, ASealedLayerIsSharedUntilTheLastExtentLeavesIt) {
  put(a_, {0, 1});
  put(b_, {0, 1});
  store_.seal();
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(files_.open_files(), 1u);
  EXPECT_EQ(store_.contiguous(b_, 0, 1), 1u);
  put(b_, {0, 1});
  EXPECT_EQ(files_.open_files(), 1u);
  EXPECT_EQ(entries(b_), 1u);
}

TEST_F(StoreTest, AreasOfASealedLayerAreNeverWrittenAgain) {
  LooseExtent c;
  put(a_, {0, 1});
  put(b_, {0, 1});
  const uint64_t free = store_.place(a_, 0).offset;
  store_.forget(a_, PageSet::all());
  const int sealed = store_.place(b_, 0).fd;
  store_.seal();
  put(a_, {0, 1});
  put(c, {0, 1});
  EXPECT_NE(store_.place(a_, 0).fd, sealed);
  EXPECT_NE(store_.place(a_, 0).offset, store_.place(c, 0).offset);
  EXPECT_EQ(store_.place(a_, 0).offset, free) << "from the new file's begin, not from the old one's free areas";
}

TEST_F(StoreTest, SeedsDifferBetweenPagesAreasLayersAndJobs) {
  std::set<uint64_t> seeds;
  put(a_, {0, 512});
  put(b_, {0, 512});
  for (unsigned i = 0; i < kPagesPerExtent; ++i) {
    seeds.insert(store_.place(a_, i).seed);
    seeds.insert(store_.place(b_, i).seed);
  }
  const uint64_t before = store_.place(a_, 7).seed;
  const uint64_t offset = store_.place(a_, 7).offset;
  store_.seal();
  put(a_, {0, 512});
  EXPECT_EQ(store_.place(a_, 7).offset, offset) << "the same offset of another file";
  for (unsigned i = 0; i < kPagesPerExtent; ++i) seeds.insert(store_.place(a_, i).seed);
  EXPECT_EQ(seeds.size(), 3 * kPagesPerExtent);
  EXPECT_NE(store_.place(a_, 7).seed, before);
  Store other{arena_, files_};
  other.set_seed(43);
  LooseExtent e;
  const auto entry = other.writable(e);
  ASSERT_TRUE(entry.ok());
  other.commit(e, *entry.value(), PageSet::all());
  EXPECT_FALSE(seeds.count(other.place(e, 7).seed));
}

TEST_F(StoreTest, ErrorsOfCreateAndReserveAreHandedOnAndLeaveNothing) {
  files_.script = [](FakeFiles::Op op, int, uint64_t) {
    return op == FakeFiles::Op::kCreate ? Errno{EMFILE} : Errno{};
  };
  EXPECT_EQ(store_.writable(a_).error(), Errno{EMFILE});
  EXPECT_EQ(a_.store, nullptr);
  files_.script = [](FakeFiles::Op op, int, uint64_t) { return op == FakeFiles::Op::kReserve ? Errno{EIO} : Errno{}; };
  const Bytes used = arena_.used();
  EXPECT_EQ(store_.writable(a_).error(), Errno{EIO});
  EXPECT_EQ(store_.writable(a_).error(), Errno{EIO});
  EXPECT_EQ(a_.store, nullptr);
  EXPECT_EQ(arena_.used(), used) << "no entry is left behind";
  EXPECT_EQ(store_.size(), Bytes{});
  files_.script = nullptr;
  put(a_, {0, 1});
  EXPECT_EQ(a_.stored, set(0, 1));
}

TEST_F(StoreTest, ANearlyFullDeviceIsUsedToItsEnd) {
  files_.set_capacity(Bytes{3 * kExtentSize});  // less than is asked for at once
  LooseExtent e[4];
  for (int i = 0; i < 3; ++i) put(e[i], {0, 512});
  EXPECT_EQ(store_.writable(e[3]).error(), Errno{ENOSPC});
  EXPECT_EQ(e[3].store, nullptr);
  put(e[0], {0, 1});
  store_.forget(e[1], PageSet::all());
  put(e[3], {0, 512});
  EXPECT_EQ(files_.used(), Bytes{3 * kExtentSize});
}

TEST_F(StoreTest, WhatIsNotStoredIsGivenBackOnceUntilSomethingChanges) {
  put(a_, {0, 4});
  const SlotPlace place = store_.place(a_, 0);
  const auto taken = [&] { return files_.used(); };
  const auto fill_gap = [&] { ASSERT_FALSE(files_.reserve(place.fd, place.offset + 8 * kPageSize, kPageSize)); };
  const Bytes reserved = taken();
  store_.trim(a_);
  const Bytes trimmed = taken();
  EXPECT_EQ(reserved - trimmed, to_bytes(Pages{kPagesPerExtent - 4}));
  fill_gap();
  store_.trim(a_);
  EXPECT_EQ(taken() - trimmed, Bytes{kPageSize}) << "nothing was asked of the file system again";
  put(a_, {0, 2});
  store_.trim(a_);
  EXPECT_EQ(taken(), trimmed) << "it was written to";
  store_.forget(a_, set(3, 1));
  store_.trim(a_);
  EXPECT_EQ(trimmed - taken(), Bytes{kPageSize}) << "old contents go with their space";
}

TEST_F(MemoryStoreTest, CrowdedWhenEveryLayerIsInUse) {
  std::vector<LooseExtent> all(Store::kMaxLayers);
  for (Extent& e : all) {
    EXPECT_FALSE(store_.crowded());
    put(e, {0, 1});
    store_.seal();
  }
  EXPECT_TRUE(store_.crowded());
  EXPECT_EQ(store_.writable(a_).error(), Errno{EMFILE});
  EXPECT_EQ(a_.store, nullptr);
  for (Extent& e : all) EXPECT_EQ(store_.contiguous(e, 0, 1), 1u);
  store_.forget(all[17], PageSet::all());
  EXPECT_FALSE(store_.crowded());
  put(a_, {0, 1});
  EXPECT_NE(store_.place(a_, 0).fd, store_.place(all[16], 0).fd);
}

TEST_F(MemoryStoreTest, PlacesAreAddresses) {
  put(a_, {3, 2});
  put(b_, {0, 1});
  const SlotPlace place = store_.place(a_, 3);
  ASSERT_NE(place.mapped, nullptr);
  EXPECT_FALSE(store_.copy_out(place, "hello", 5));
  EXPECT_EQ(*files_.stored(place.fd, place.offset), 'h');
  EXPECT_EQ(store_.place(a_, 4).mapped, place.mapped + kPageSize);
}

TEST_F(MemoryStoreTest, SpaceIsTakenAndGivenBackAreaByArea) {
  put(a_, {0, 1});
  EXPECT_EQ(files_.used(), Bytes{kExtentSize});
  put(b_, {0, 1});
  EXPECT_EQ(files_.used(), Bytes{2 * kExtentSize});
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(files_.used(), Bytes{kExtentSize});
  files_.set_capacity(Bytes{kExtentSize});
  EXPECT_EQ(store_.writable(a_).error(), Errno{ENOSPC}) << "the area is free, its space is not";
  files_.set_capacity(Bytes{2 * kExtentSize});
  put(a_, {0, 1});
  EXPECT_EQ(files_.used(), Bytes{2 * kExtentSize});
}

TEST_F(MemoryStoreTest, ASealedLayerKeepsItsBytesAndEndsUnmapped) {
  put(a_, {0, 1});
  put(b_, {0, 1});
  const SlotPlace place = store_.place(a_, 0);
  place.mapped[0] = 'a';
  store_.seal();
  store_.forget(a_, PageSet::all());
  EXPECT_EQ(*files_.stored(place.fd, place.offset), 'a') << "another process may still need it";
  store_.forget(b_, PageSet::all());
  EXPECT_EQ(files_.open_files(), 0u);
}

}  // namespace
}  // namespace ebb
