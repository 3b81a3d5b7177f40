// Strides: tells walks by a constant distance (a row of a matrix that is stored by columns) from random touches. The
// distance is in bytes, since rows are seldom whole pages. Only misses are seen, so the pages of a walk that are there
// already do not hide it: they are missed at a constant distance, too. Where the kernel tells pages only (before Linux
// 5.18), it is whole pages that are found. A pure decision over the addresses of misses; no I/O, no locking, no
// allocation.
//
// Source of the idea, with a vote over recent differences instead: Maruf and Chowdhury, "Effectively Prefetching Remote
// Memory with Leap", ATC 2020.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace ebb {

struct Stride {
  uint64_t last = 0;   // the address that was missed last
  uint64_t used = 0;   // when, in observations
  int64_t step = 0;    // bytes from one to the next; 0: not known, or less than a page
  uint64_t given = 0;  // steps after `last` that were provided
  uint32_t hits = 0;   // misses in a row that came where they were expected
  bool active = false;

  // The address that is so many steps after the last miss.
  uint64_t after(uint64_t steps) const { return last + static_cast<uint64_t>(step) * steps; }
};

class Strides {
 public:
  static constexpr unsigned kStrides = 16;
  static constexpr uint64_t kReach = uint64_t{256} << 20;  // bytes; what is farther away is another walk
  static constexpr uint32_t kBelieved = 2;                 // expected misses, after which
  static constexpr unsigned kMostSteps = 32;               // so many steps at most are provided at once

  // A miss at `address`, whose page is told once or more often. The walk that it belongs to; valid until the next
  // observe().
  Stride& observe(uint64_t address) {
    ++clock_;
    Stride* nearest = nullptr;
    Stride* oldest = &strides_[0];
    for (Stride& s : strides_) {
      if (!s.active) {
        oldest = &s;
        continue;
      }
      if (same_page(s.last, address)) return s;
      if (s.step && same_page(s.after(s.given + 1), address)) {
        if (s.hits < UINT32_MAX) ++s.hits;
        return at(s, address);
      }
      if (distance(s, address) < kReach && (!nearest || distance(s, address) < distance(*nearest, address)))
        nearest = &s;
      if (oldest->active && s.used < oldest->used) oldest = &s;
    }
    // A walk of its own, whatever the nearest one does: another miss may continue that one as it was.
    const bool apart = nearest && distance(*nearest, address) >= kPageSize;
    const int64_t step = apart ? static_cast<int64_t>(address - nearest->last) : 0;
    *oldest = {.step = step, .active = true};
    return at(*oldest, address);
  }
  // How many steps after a miss are worth loading with it: twice as many each time that the next miss came just behind
  // what was provided.
  static unsigned steps(const Stride& s) {
    if (s.hits < kBelieved) return 0;
    const uint32_t doublings = s.hits - kBelieved;
    return doublings < 4 ? 2u << doublings : kMostSteps;
  }

 private:
  static bool same_page(uint64_t a, uint64_t b) { return a >> kPageShift == b >> kPageShift; }
  static uint64_t distance(const Stride& s, uint64_t address) {
    return address > s.last ? address - s.last : s.last - address;
  }
  Stride& at(Stride& s, uint64_t address) {
    s.last = address;
    s.given = 0;
    s.used = clock_;
    return s;
  }

  Stride strides_[kStrides];
  uint64_t clock_ = 0;
};

}  // namespace ebb
