// The same hashes with what every x86-64 has (SSE2). Same values: XXH3 does not depend on the vector width.
#include "base/hash.h"
#include "base/units.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ebb {

PageHash hash_page_baseline(const void* page, uint64_t seed) { return {XXH3_64bits(page, kPageSize) ^ seed}; }

bool is_zero_page_baseline(const void* page) {
  const auto* p = static_cast<const uint64_t*>(page);
  for (unsigned i = 0; i < kPageSize / 8; i += 8) {
    uint64_t any = 0;
    for (unsigned k = 0; k < 8; ++k) any |= p[i + k];
    if (any) return false;
  }
  return true;
}

}  // namespace ebb
