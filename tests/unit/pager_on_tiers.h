// The pager over each kind of tier: what the tests of its policy share.
#pragma once

#include <gtest/gtest.h>
#include <string>

#include "pager_world.h"

namespace ebb {

// On a disk and in memory.
class PagerOnTiers : public testing::TestWithParam<Tier> {
 protected:
  bool disk() const { return GetParam() == Tier::kDisk; }
  // Pages of `range` are in the store and nowhere else; false when some would not go.
  bool evict(AddressRange range) {
    for (int tries = 0; tries < 8; ++tries) {
      w.squeeze({640});
      bool gone = true;
      w.table.for_each(range, [&](Extent& e) { gone &= e.resident.none() && e.aside.none() && e.loading.none(); });
      if (gone) return true;
      w.k.clock.advance(2'000'000'000);
    }
    return false;
  }
  AddressRange part(AddressRange r, uint64_t first, uint64_t count) const {
    return range_at(page(r, first), count * kPageSize);
  }

  PagerWorld w{{.tier = GetParam()}};
};

inline const auto kAllTiers = testing::Values(Tier::kDisk, Tier::kMemory, Tier::kCalls);

inline std::string tier_name(const testing::TestParamInfo<Tier>& tier) {
  return tier.param == Tier::kDisk ? "disk" : tier.param == Tier::kMemory ? "memory" : "calls";
}

}  // namespace ebb
