// Hashes of page contents, by which eviction knows a clean page and a load knows that the device returned what was
// written. XXH3 (libxxhash), 64 bits; the seed binds a hash to its job and page so that a sector that came back from
// the wrong place does not pass. Why 64 bits and not 128: docs/decisions/0003-page-hash-64-bits.md.
//
// No allocation, no lock, safe in the pager's thread.
#pragma once

#include <cstdint>

namespace ebb {

struct PageHash {
  uint64_t value = 0;
  constexpr bool operator==(const PageHash&) const = default;
};

// `page` points to 4096 readable bytes.
PageHash hash_page(const void* page, uint64_t seed);
// The hash of a page in another place: `content` is its hash_page() with seed 0.
constexpr PageHash bound_to(PageHash content, uint64_t seed) { return {content.value ^ seed}; }
// Whether all 4096 bytes are zero; stops at the first that is not.
bool is_zero_page(const void* page);

}  // namespace ebb
