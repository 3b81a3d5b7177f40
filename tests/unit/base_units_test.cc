// Tests of base/units.h: alignment, and the arithmetic of addresses and ranges.
#include "base/units.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

TEST(Units, PagesCover) {
  EXPECT_EQ(pages_covering(Bytes{0}).count, 0u);
  EXPECT_EQ(pages_covering(Bytes{1}).count, 1u);
  EXPECT_EQ(pages_covering(Bytes{4096}).count, 1u);
  EXPECT_EQ(pages_covering(Bytes{4097}).count, 2u);
  EXPECT_EQ(to_bytes(Pages{3}).count, 3u * 4096);
  EXPECT_EQ(whole_extents(2).count, 1024u);
}

TEST(Units, Alignment) {
  EXPECT_EQ(align_down(4097, 4096), 4096u);
  EXPECT_EQ(align_down(4096, 4096), 4096u);
  EXPECT_EQ(align_up(4097, 4096), 8192u);
  EXPECT_EQ(align_up(0, 4096), 0u);
}

TEST(Units, AddressSplitsIntoExtentAndPage) {
  const Address extent{uintptr_t{7} << kExtentShift};
  const Address a = extent + 300 * kPageSize + 17;
  EXPECT_EQ(a.extent(), extent);
  EXPECT_EQ(a.page(), extent + 300 * kPageSize);
  EXPECT_EQ(a.page_in_extent(), 300u);
  EXPECT_EQ((extent + kExtentSize - 1).page_in_extent(), kPagesPerExtent - 1);
  EXPECT_EQ((extent + kExtentSize).page_in_extent(), 0u);
  EXPECT_EQ(a - extent, 300 * kPageSize + 17);
}

TEST(Units, RangesContainOverlapAndIntersect) {
  const AddressRange r = range_at(Address{0x10000}, 0x4000);
  EXPECT_EQ(r.pages().count, 4u);
  EXPECT_TRUE(r.contains(Address{0x10000}));
  EXPECT_TRUE(r.contains(Address{0x13fff}));
  EXPECT_FALSE(r.contains(Address{0x14000}));
  EXPECT_TRUE(r.contains(r));
  EXPECT_FALSE(r.overlaps(range_at(Address{0x14000}, 0x1000)));
  EXPECT_FALSE(r.overlaps(range_at(Address{0xf000}, 0x1000)));
  EXPECT_TRUE(r.overlaps(range_at(Address{0xf000}, 0x1001)));
  EXPECT_EQ(r.intersect(range_at(Address{0x12000}, 0x10000)), range_at(Address{0x12000}, 0x2000));
  EXPECT_TRUE(r.intersect(range_at(Address{0x20000}, 0x1000)).empty());
}

}  // namespace
}  // namespace ebb
