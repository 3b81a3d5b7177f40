// Tests of base/arena.h: zeroed, aligned, non-overlapping, reused, counted; and the growing array on top.
#include "base/arena.h"

#include <gtest/gtest.h>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace ebb {
namespace {

bool all_bytes(const void* p, size_t n, unsigned char value) {
  const auto* c = static_cast<const unsigned char*>(p);
  for (size_t i = 0; i < n; ++i)
    if (c[i] != value) return false;
  return true;
}

TEST(Arena, MemoryIsZeroedAgainWhenReused) {
  Arena arena;
  for (size_t bytes : {1ul, 64ul, 65ul, 4096ul, 100000ul, 262144ul, 262145ul, 3ul << 20}) {
    void* p = arena.allocate(bytes);
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(all_bytes(p, bytes, 0)) << bytes;
    std::memset(p, 0xAB, bytes);
    arena.release(p, bytes);
    void* again = arena.allocate(bytes);
    ASSERT_NE(again, nullptr);
    EXPECT_TRUE(all_bytes(again, bytes, 0)) << bytes;
    arena.release(again, bytes);
  }
  EXPECT_EQ(arena.used().count, 0u);
}

TEST(Arena, FreedPiecesAreHandedOutAgain) {
  Arena arena;
  void* p = arena.allocate(1000);
  arena.release(p, 1000);
  EXPECT_EQ(arena.allocate(513), p) << "same class, so the same piece";
}

TEST(Arena, AlignedToClassOrPage) {
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    for (size_t shift = 0; shift <= 20; ++shift) {
      const size_t bytes = size_t{1} << shift;
      const size_t alignment = bytes < 64 ? 64 : bytes < kPageSize ? bytes : kPageSize;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.allocate(bytes)) % alignment, 0u) << bytes;
    }
  }
}

TEST(Arena, PiecesNeverOverlapAndAreCounted) {
  Arena arena;
  std::mt19937 random(7);
  std::map<char*, std::pair<size_t, unsigned char>> live;
  for (int step = 0; step < 20000; ++step) {
    if (live.size() < 300 && random() % 3) {
      const size_t bytes = size_t{1} << (random() % 13);
      const size_t n = bytes + random() % bytes;
      auto* p = static_cast<char*>(arena.allocate(n));
      ASSERT_NE(p, nullptr);
      const auto after = live.lower_bound(p);
      if (after != live.end()) {
        ASSERT_LE(p + n, after->first);
      }
      if (after != live.begin()) {
        ASSERT_LE(std::prev(after)->first + std::prev(after)->second.first, p);
      }
      const auto mark = static_cast<unsigned char>(step);
      std::memset(p, mark, n);
      live[p] = {n, mark};
    } else if (!live.empty()) {
      auto it = std::next(live.begin(), static_cast<long>(random() % live.size()));
      ASSERT_TRUE(all_bytes(it->first, it->second.first, it->second.second));
      arena.release(it->first, it->second.first);
      live.erase(it);
    }
  }
  uint64_t least = 0;
  for (const auto& [p, piece] : live) least += piece.first;
  EXPECT_GE(arena.used().count, least);
  EXPECT_LE(arena.used().count, 2 * least + 64 * live.size());
  for (const auto& [p, piece] : live) arena.release(p, piece.first);
  EXPECT_EQ(arena.used().count, 0u);
}

TEST(Arena, MakeAndDestroyRunConstructors) {
  struct Counted {
    explicit Counted(int& n) : live(n) { ++live; }
    ~Counted() { --live; }
    int& live;
  };
  Arena arena;
  int live = 0;
  Counted* c = arena.make<Counted>(live);
  EXPECT_EQ(live, 1);
  arena.destroy(c);
  EXPECT_EQ(live, 0);
  arena.destroy(static_cast<Counted*>(nullptr));
  EXPECT_EQ(arena.used().count, 0u);
}

TEST(Arena, RefusesWhatTheKernelRefuses) {
  Arena arena;
  EXPECT_EQ(arena.allocate(size_t{1} << 50), nullptr);
  EXPECT_EQ(arena.used().count, 0u);
}

TEST(ArenaVector, AgreesWithStdVector) {
  Arena arena;
  ArenaVector<uint64_t> v(arena);
  std::vector<uint64_t> m;
  std::mt19937 random(11);
  for (int step = 0; step < 20000; ++step) {
    const uint64_t x = random();
    switch (random() % 6) {
      case 0:
      case 1:
        ASSERT_TRUE(v.push_back(x));
        m.push_back(x);
        break;
      case 2: {
        const size_t at = random() % (m.size() + 1);
        ASSERT_TRUE(v.insert(at, x));
        m.insert(m.begin() + static_cast<long>(at), x);
        break;
      }
      case 3:
        if (!m.empty()) v.pop_back(), m.pop_back();
        break;
      case 4: {
        if (m.empty()) break;
        const size_t at = random() % m.size(), n = 1 + random() % std::min<size_t>(3, m.size() - at);
        v.erase(at, n);
        m.erase(m.begin() + static_cast<long>(at), m.begin() + static_cast<long>(at + n));
        break;
      }
      case 5:
        if (random() % 1000 == 0) v.clear(), m.clear();
        break;
    }
    ASSERT_EQ(v.size(), m.size());
    ASSERT_EQ(v.empty(), m.empty());
    if (!m.empty()) {
      ASSERT_EQ(v.back(), m.back());
    }
  }
  EXPECT_TRUE(std::equal(v.begin(), v.end(), m.begin(), m.end()));
}

TEST(ArenaVector, InsertsACopyOfItsOwnElement) {
  Arena arena;
  ArenaVector<int> v(arena);
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(v.push_back(i));
  ASSERT_TRUE(v.insert(0, v[15]));  // grows: the reference dangles inside
  EXPECT_EQ(v[0], 15);
  EXPECT_EQ(v.size(), 17u);
}

TEST(Arena, ReservedSpaceIsUsedFirst) {
  Arena arena;
  ASSERT_TRUE(arena.reserve(8 << 20));
  char* first = static_cast<char*>(arena.allocate(64));
  const auto begin = reinterpret_cast<uintptr_t>(first);
  for (int i = 0; i < 4000; ++i) {  // nearly 8 MiB: all of it from the one piece
    const auto at = reinterpret_cast<uintptr_t>(arena.allocate(2048));
    ASSERT_GE(at, begin);
    ASSERT_LT(at, begin + (8 << 20));
  }
  EXPECT_LT(arena.used().count, uint64_t{9} << 20);
}

TEST(Arena, WhatAlignmentPassesOverIsNotLost) {
  Arena arena;
  const auto at = [&](size_t bytes) { return reinterpret_cast<uintptr_t>(arena.allocate(bytes)); };
  const uintptr_t first = at(64), page = at(4096);
  ASSERT_EQ(page, first + 4096);
  std::set<uintptr_t> seen = {first};
  for (int i = 0; i < 63; ++i) {
    const uintptr_t p = at(64);
    ASSERT_GT(p, first);
    ASSERT_LT(p, page);
    ASSERT_TRUE(seen.insert(p).second);
  }
}

}  // namespace
}  // namespace ebb
