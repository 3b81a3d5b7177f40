// Tests of base/hash.h: both code paths agree, seeds and single bits matter, zero detection is exact.
#include "base/hash.h"

#include <gtest/gtest.h>
#include <cstring>
#include <random>
#include <set>

#include "base/units.h"

namespace ebb {

PageHash hash_page_baseline(const void* page, uint64_t seed);
bool is_zero_page_baseline(const void* page);

namespace {

struct alignas(kPageSize) Page {
  unsigned char bytes[kPageSize] = {};
};

Page random_page(unsigned seed) {
  Page p;
  std::mt19937 random(seed);
  for (auto& b : p.bytes) b = static_cast<unsigned char>(random());
  return p;
}

TEST(Hash, BothPathsAgree) {
  for (unsigned i = 0; i < 200; ++i) {
    const Page p = random_page(i);
    EXPECT_EQ(hash_page(&p, i), hash_page_baseline(&p, i));
  }
  const Page zero;
  EXPECT_EQ(hash_page(&zero, 0), hash_page_baseline(&zero, 0));
}

TEST(Hash, EveryBitOfThePageCounts) {
  Page p = random_page(1);
  const PageHash before = hash_page(&p, 42);
  for (unsigned bit = 0; bit < kPageSize * 8; bit += 7) {
    p.bytes[bit / 8] = static_cast<unsigned char>(p.bytes[bit / 8] ^ (1u << (bit % 8)));
    EXPECT_FALSE(hash_page(&p, 42) == before) << "bit " << bit;
    p.bytes[bit / 8] = static_cast<unsigned char>(p.bytes[bit / 8] ^ (1u << (bit % 8)));
  }
  EXPECT_EQ(hash_page(&p, 42), before);
}

TEST(Hash, SeedsBind) {
  const Page p = random_page(2);
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 1000; ++seed) seen.insert(hash_page(&p, seed).value);
  for (unsigned bit = 0; bit < 64; ++bit) seen.insert(hash_page(&p, uint64_t{1} << bit).value);
  EXPECT_EQ(seen.size(), 1000u + 64 - 10) << "1, 2, 4 ... 512 are in both loops";
}

TEST(Hash, ZeroDetectionIsExact) {
  Page p;
  EXPECT_TRUE(is_zero_page(&p));
  EXPECT_TRUE(is_zero_page_baseline(&p));
  for (unsigned i = 0; i < kPageSize; ++i) {
    p.bytes[i] = 0x80;
    EXPECT_FALSE(is_zero_page(&p)) << i;
    EXPECT_FALSE(is_zero_page_baseline(&p)) << i;
    p.bytes[i] = 0;
  }
}

}  // namespace
}  // namespace ebb
