// Tests of space/: the sets of an extent, the lists and the table.
#include <gtest/gtest.h>
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/log.h"
#include "loose_extent.h"
#include "space/extent_table.h"

namespace ebb {
namespace {

PageSet set(unsigned first, unsigned count) { return PageSet::of({first, count}); }

TEST(ExtentTest, APageIsColdOnlyWhenItsNewestContentIsInTheStore) {
  LooseExtent e;
  e.managed = set(0, 100);
  e.stored = set(0, 60);
  e.resident = set(0, 10);
  e.aside = set(10, 10);
  e.loading = set(20, 10);
  EXPECT_EQ(e.cold(), set(30, 30));
  EXPECT_EQ(e.empty(), set(60, 40));
  e.stored = PageSet::all();
  EXPECT_EQ(e.cold(), set(30, 70)) << "what is not managed is not cold";
}

TEST(ExtentTest, FencedAndPinnedPagesAreNotEvictableAndKeepHugePagesAway) {
  LooseExtent e;
  e.managed = e.resident = PageSet::all();
  EXPECT_FALSE(e.can_be_huge());
  e.armed = true;
  EXPECT_TRUE(e.can_be_huge());
  EXPECT_TRUE(e.evictable().full());
  e.fenced = set(3, 2);
  EXPECT_FALSE(e.can_be_huge());
  e.pinned = set(500, 12);
  EXPECT_EQ(e.evictable().count(), 512u - 14);
  e.fenced = {};
  EXPECT_FALSE(e.can_be_huge());
  e.pinned = {};
  e.managed.clear(511);
  EXPECT_FALSE(e.can_be_huge());
}

TEST(ExtentTest, AddressesOfPagesAndRuns) {
  LooseExtent e;
  e.base = {7 * kExtentSize};
  EXPECT_EQ(e.page(3).value, 7 * kExtentSize + 3 * kPageSize);
  EXPECT_EQ(e.range({2, 5}), range_at(e.page(2), 5 * kPageSize));
}

TEST(ExtentListTest, KeepsOrderThroughEveryRemoval) {
  LooseExtent e[4];
  for (int removed = 0; removed < 4; ++removed) {
    ResidentList list;
    EXPECT_TRUE(list.empty());
    list.push_back(e[1]);
    list.push_back(e[2]);
    list.push_back(e[3]);
    list.push_front(e[0]);
    EXPECT_EQ(list.size(), 4u);
    list.remove(e[removed]);
    std::vector<Extent*> seen;
    while (Extent* front = list.front()) {
      seen.push_back(front);
      list.remove(*front);
    }
    std::vector<Extent*> wanted;
    for (int i = 0; i < 4; ++i)
      if (i != removed) wanted.push_back(&e[i]);
    EXPECT_EQ(seen, wanted);
    EXPECT_EQ(list.size(), 0u);
  }
}

TEST(ExtentListTest, TheTwoPairsOfLinksAreApart) {
  LooseExtent a, b;
  ResidentList resident;
  AwayList away;
  resident.push_back(a);
  resident.push_back(b);
  away.push_back(b);
  away.push_back(a);
  resident.remove(a);
  EXPECT_EQ(resident.front(), &b);
  EXPECT_EQ(away.front(), &b);
  EXPECT_EQ(away.size(), 2u);
}

class ExtentTableTest : public testing::Test {
 protected:
  Arena arena_;
  std::unique_ptr<ExtentTable> table_ = std::make_unique<ExtentTable>(arena_);
};

TEST_F(ExtentTableTest, FindsWhatWasMadeByAnyAddressOfTheExtent) {
  const Address a{(uint64_t{5} << 34) + 3 * kExtentSize};
  EXPECT_EQ(table_->find(a), nullptr);
  Extent* e = table_->find_or_make(a + 12345);
  ASSERT_NE(e, nullptr);
  EXPECT_EQ(e->base, a);
  EXPECT_EQ(table_->find(a), e);
  EXPECT_EQ(table_->find(a + kExtentSize - 1), e);
  EXPECT_EQ(table_->find(a + kExtentSize), nullptr);
  EXPECT_EQ(table_->find(a - 1), nullptr);
  EXPECT_EQ(table_->find_or_make(a), e);
  EXPECT_EQ(table_->size(), 1u);
  table_->destroy(*e);
  EXPECT_EQ(table_->find(a), nullptr);
  EXPECT_EQ(table_->size(), 0u);
}

TEST_F(ExtentTableTest, AddressesBeyondUserSpaceAreNobodys) {
  const Address beyond{uint64_t{1} << 47};
  EXPECT_EQ(table_->find(beyond), nullptr);
  EXPECT_EQ(table_->find_or_make(beyond), nullptr);
  EXPECT_NE(table_->find_or_make(beyond - 1), nullptr);
}

TEST_F(ExtentTableTest, WalksInOrderAcrossLeavesAndHoles) {
  const uint64_t leaf = uint64_t{1} << 34;
  const std::vector<uint64_t> bases = {leaf - kExtentSize, leaf, leaf + 5 * kExtentSize, 9 * leaf};
  for (uint64_t b : {3, 0, 2, 1}) ASSERT_NE(table_->find_or_make({bases[b]}), nullptr);
  std::vector<uint64_t> seen;
  const auto note = [&](Extent& e) { seen.push_back(e.base.value); };
  table_->for_all(note);
  EXPECT_EQ(seen, bases);
  seen.clear();
  table_->for_each({{leaf - 1}, {leaf + 1}}, note);
  EXPECT_EQ(seen, (std::vector<uint64_t>{bases[0], bases[1]}));
  seen.clear();
  table_->for_each({{leaf + kExtentSize}, {9 * leaf}}, note);
  EXPECT_EQ(seen, std::vector<uint64_t>{bases[2]});
  table_->for_each(kAllAddresses, [&](Extent& e) { table_->destroy(e); });
  EXPECT_EQ(table_->size(), 0u);
}

TEST_F(ExtentTableTest, PartsWithoutAPageInAnySetAreFoundAndCanBeDropped) {
  constexpr unsigned kExtents = 300;
  std::vector<Extent*> made;
  for (unsigned k = 0; k < kExtents; ++k) {
    made.push_back(table_->find_or_make({(k + 1) * kExtentSize}));
    ASSERT_NE(made[k], nullptr);
    made[k]->managed = PageSet::all();
    made[k]->aside.set(k);
    EXPECT_EQ(made[k]->rare.aside, set(k, 1));
  }
  std::vector<AddressRange> empty;
  const auto holds = [&](const Extent& e) {
    const AddressRange sets = range_at({reinterpret_cast<uint64_t>(&e.rare)}, sizeof e.rare);
    return std::ranges::any_of(empty, [&](AddressRange r) { return r.begin < sets.end && sets.begin < r.end; });
  };
  const auto look = [&] {
    empty.clear();
    table_->for_each_empty_part([&](AddressRange r) { empty.push_back(r); });
  };
  look();
  for (Extent* e : made) EXPECT_FALSE(holds(*e));
  for (unsigned k = 0; k < kExtents; ++k)
    if (k != 150) made[k]->aside.clear(k);
  look();
  EXPECT_FALSE(holds(*made[150]));
  EXPECT_TRUE(holds(*made[0]));
  EXPECT_TRUE(holds(*made[kExtents - 1]));
  for (AddressRange r : empty) std::memset(r.begin.pointer(), 0, r.size());
  for (Extent* e : made) EXPECT_TRUE(e->managed.full());
  EXPECT_EQ(made[150]->aside, set(150, 1));
}

TEST_F(ExtentTableTest, ARecordThatIsUsedAgainHoldsNothing) {
  Extent* e = table_->find_or_make({kExtentSize});
  ASSERT_NE(e, nullptr);
  for (PageSet* s : {&e->managed, &e->stored, &e->hot, &e->clean, &e->sample, &e->pinned, &e->lost, &e->borrowed})
    *s = PageSet::all();
  table_->destroy(*e);
  Extent* again = table_->find_or_make({7 * kExtentSize});
  ASSERT_EQ(again, e) << "or this test shows nothing";
  for (const PageSet* s : {&e->managed, &e->stored, &e->hot, &e->clean, &e->sample, &e->pinned, &e->lost, &e->borrowed})
    EXPECT_TRUE(s->none());
}

TEST_F(ExtentTableTest, AMovedRecordIsFoundInItsNewPlaceOnly) {
  const Address from{10 * kExtentSize}, to{(uint64_t{77} << 34) + kExtentSize};
  Extent* e = table_->find_or_make(from);
  e->managed = set(1, 2);
  ASSERT_TRUE(table_->rekey(*e, to));
  EXPECT_EQ(table_->find(from), nullptr);
  EXPECT_EQ(table_->find(to), e);
  EXPECT_EQ(e->base, to);
  EXPECT_EQ(e->managed, set(1, 2));
  EXPECT_EQ(table_->size(), 1u);
}

TEST_F(ExtentTableTest, ARecordThatHoldsSomethingIsNotFreed) {
  Extent* e = table_->find_or_make({kExtentSize});
  e->slot = 3;
  EXPECT_DEATH(
      {
        remember_stderr();
        table_->destroy(*e);
      },
      "internal error");
}

}  // namespace
}  // namespace ebb
