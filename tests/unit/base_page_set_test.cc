// Tests of base/page_set.h: every operation against std::bitset on random sets and runs.
#include "base/page_set.h"

#include <gtest/gtest.h>
#include <bitset>
#include <random>
#include <vector>

namespace ebb {
namespace {

using Model = std::bitset<PageSet::kPages>;

void expect_same(const PageSet& s, const Model& m) {
  for (unsigned i = 0; i < PageSet::kPages; ++i) ASSERT_EQ(s.test(i), m[i]) << "page " << i;
  ASSERT_EQ(s.count(), m.count());
  ASSERT_EQ(s.pages().count, m.count());
  ASSERT_EQ(s.none(), m.none());
  ASSERT_EQ(s.any(), m.any());
  ASSERT_EQ(s.full(), m.all());
}

std::vector<PageRun> runs_of(const Model& m) {
  std::vector<PageRun> runs;
  for (unsigned i = 0; i < m.size(); ++i) {
    if (!m[i]) continue;
    if (!runs.empty() && runs.back().end() == i)
      ++runs.back().count;
    else
      runs.push_back({i, 1});
  }
  return runs;
}

TEST(PageSet, Extremes) {
  EXPECT_TRUE(PageSet{}.none());
  EXPECT_TRUE(PageSet::all().full());
  EXPECT_EQ(PageSet::all().count(), 512u);
  EXPECT_EQ(PageSet::of({0, 512}), PageSet::all());
  EXPECT_TRUE(PageSet::of({17, 0}).none());
  EXPECT_EQ(PageSet{}.next(0), PageSet::kPages);
  EXPECT_EQ(PageSet::all().next_gap(0), PageSet::kPages);
  EXPECT_EQ(PageSet::all().next(512), PageSet::kPages);
  EXPECT_TRUE(PageSet::all().next_run(512).empty());
  EXPECT_TRUE(PageSet{}.next_run(0).empty());
}

TEST(PageSet, RunsAtWordBorders) {
  for (unsigned first : {0u, 1u, 63u, 64u, 65u, 127u, 448u, 511u}) {
    for (unsigned count : {1u, 2u, 63u, 64u, 65u, 128u}) {
      if (first + count > 512) continue;
      Model m;
      for (unsigned i = first; i < first + count; ++i) m.set(i);
      const PageSet s = PageSet::of({first, count});
      expect_same(s, m);
      EXPECT_EQ(s.next_run(0), (PageRun{first, count}));
      PageSet rest = PageSet::all();
      rest.clear(PageRun{first, count});
      expect_same(rest, ~m);
    }
  }
}

TEST(PageSet, AgreesWithBitsetOnRandomOperations) {
  std::mt19937 random(20240607);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  PageSet s, other;
  Model m, other_m;
  for (int step = 0; step < 20000; ++step) {
    const unsigned first = below(512);
    const PageRun run = {first, below(512 - first + 1)};
    switch (below(9)) {
      case 0:
        s.set(first), m.set(first);
        break;
      case 1:
        s.clear(first), m.reset(first);
        break;
      case 2:
        s.set(run);
        for (unsigned i = run.first; i < run.end(); ++i) m.set(i);
        break;
      case 3:
        s.clear(run);
        for (unsigned i = run.first; i < run.end(); ++i) m.reset(i);
        break;
      case 4:
        s |= other, m |= other_m;
        break;
      case 5:
        s &= other, m &= other_m;
        break;
      case 6:
        s.remove(other), m &= ~other_m;
        break;
      case 7:
        std::swap(s, other), std::swap(m, other_m);
        break;
      case 8: {
        ASSERT_EQ(s.intersects(other), (m & other_m).any());
        ASSERT_EQ(s == other, m == other_m);
        unsigned at = first;
        while (at < 512 && !m[at]) ++at;
        ASSERT_EQ(s.next(first), at);
        for (at = first; at < 512 && m[at];) ++at;
        ASSERT_EQ(s.next_gap(first), at);
        for (at = first; at > 0 && m[at - 1];) --at;
        ASSERT_EQ(s.run_before(first), at);
        break;
      }
    }
    if (step % 16 == 0) {
      expect_same(s, m);
      std::vector<PageRun> runs;
      s.for_each_run([&](PageRun r) { runs.push_back(r); });
      ASSERT_EQ(runs, runs_of(m));
    }
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ebb
