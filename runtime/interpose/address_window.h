// AddressWindow: a stretch of address space that is used front to back, so that "is this pointer ours?" is one
// subtraction and one comparison, in free() and in signal handlers, with no table and no lock.
//
// Nothing is reserved: the kernel places nothing at these addresses by itself (its layouts start above 42 TiB or below
// 1 TiB), and a stranger who asks for one of them by number is stepped around, since we map with NOREPLACE.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace ebb::heap {

class AddressWindow {
 public:
  constexpr AddressWindow(uintptr_t begin, uintptr_t end) : begin_(begin), end_(end), next_(begin) {}

  bool contains(uintptr_t address) const { return address - begin_ < end_ - begin_; }
  uintptr_t begin() const { return begin_; }

  // Where the first allocation goes. Constructor only.
  void start_at(uintptr_t offset) { next_.store(begin_ + align_down(offset, kExtentSize), std::memory_order_relaxed); }

  // The next free-looking stretch of `bytes`, aligned to `alignment` (a power of two, at least an extent). Starts over
  // at the end of the window: then it may be in use, which the caller's NOREPLACE map will tell.
  uintptr_t take(size_t bytes, size_t alignment) {
    uintptr_t seen = next_.load(std::memory_order_relaxed);
    for (;;) {
      uintptr_t at = align_up(seen, alignment);
      if (at < begin_ || at > end_ || bytes > end_ - at) at = align_up(begin_, alignment);
      if (next_.compare_exchange_weak(seen, at + align_up(bytes, kExtentSize), std::memory_order_relaxed)) return at;
    }
  }

  // Something grew in place up to `end`: go on behind it.
  void pass(uintptr_t end) {
    const uintptr_t wanted = align_up(end, kExtentSize);
    uintptr_t seen = next_.load(std::memory_order_relaxed);
    // Only a neighbour: after a wrap-around an old range far ahead must not throw away what lies between.
    while (seen < wanted && wanted - seen <= kNeighbour &&
           !next_.compare_exchange_weak(seen, wanted, std::memory_order_relaxed)) {
    }
  }

 private:
  static constexpr uintptr_t kNeighbour = uintptr_t{1} << 36;
  const uintptr_t begin_, end_;
  std::atomic<uintptr_t> next_;
};

// memkind's extents, and the large objects that get a mapping of their own. Below 42 TiB, where the kernel's legacy
// layout (`ulimit -s unlimited`) begins to place maps upwards; next to each other, so that one comparison finds both.
inline constexpr uintptr_t kTebibyte = uintptr_t{1} << 40;
inline constexpr uintptr_t kLargeBegin = 16 * kTebibyte;
inline constexpr uintptr_t kExtentsBegin = 26 * kTebibyte;
inline constexpr uintptr_t kOursEnd = 42 * kTebibyte;

inline bool is_ours(const void* p) { return reinterpret_cast<uintptr_t>(p) - kLargeBegin < kOursEnd - kLargeBegin; }
inline bool is_large(const void* p) {
  return reinterpret_cast<uintptr_t>(p) - kLargeBegin < kExtentsBegin - kLargeBegin;
}

extern AddressWindow g_large_window;
extern AddressWindow g_extent_window;

// Maps `bytes` of managed memory somewhere in `window`, `huge` as for engine::map_heap(); the address or -errno.
long map_in_window(AddressWindow& window, size_t bytes, size_t alignment, bool huge);

}  // namespace ebb::heap
