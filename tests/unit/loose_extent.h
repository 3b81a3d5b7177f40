// An extent without a table, for tests of what works on one.
#pragma once

#include "space/extent.h"

namespace ebb {

struct LooseSets {
  RareSets sets;
};

struct LooseExtent : LooseSets, Extent {
  LooseExtent() : Extent(sets) {}
};

}  // namespace ebb
