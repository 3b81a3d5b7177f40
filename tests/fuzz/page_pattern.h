// What the fuzzer writes into a page, and how it knows a page again: region, page number and version in eight places,
// so that a page that came from elsewhere, from earlier or in pieces says so. Version 0 is a page of zeros.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fuzz {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kWords = kPage / 8;
inline constexpr size_t kMarks = 8;  // one in each 512 bytes, at a place that depends on the page

struct PageId {
  uint32_t region = 0;
  uint32_t page = 0;
  uint32_t version = 0;
};

inline size_t mark_at(uint32_t page, size_t mark) {
  return mark * (kWords / kMarks) + (page * 7 + mark * 13) % (kWords / kMarks);
}

inline uint64_t mark_value(PageId id, size_t mark) {
  if (id.version == 0) return 0;
  uint64_t x = (uint64_t{id.region} << 40) ^ (uint64_t{id.page} << 20) ^ id.version;
  x = (x + mark + 1) * 0x9e3779b97f4a7c15u;
  x ^= x >> 31;
  return x | 1;
}

// The first two words tell a human where a page came from.
inline uint64_t label(PageId id) {
  return id.version == 0 ? 0 : (uint64_t{id.region} << 44) | (uint64_t{id.page} << 24) | (id.version & 0xffffff);
}

inline void write_page(void* at, PageId id) {
  auto* word = static_cast<volatile uint64_t*>(at);
  word[0] = label(id);
  for (size_t m = 0; m < kMarks; ++m) {
    const size_t i = mark_at(id.page, m);
    if (i) word[i] = mark_value(id, m);
  }
}

inline bool holds(const void* at, PageId id) {
  const auto* word = static_cast<const volatile uint64_t*>(at);
  if (word[0] != label(id)) return false;
  for (size_t m = 0; m < kMarks; ++m) {
    const size_t i = mark_at(id.page, m);
    if (i && word[i] != mark_value(id, m)) return false;
  }
  return true;
}

}  // namespace fuzz
