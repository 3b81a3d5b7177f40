// Strides: tells walks by a constant number of pages (a row of a matrix that is stored by columns) from random touches.
// Only misses are seen, so the pages of a walk that are there already do not hide it: they are missed at a constant
// distance, too. A pure decision over the page numbers of misses; no I/O, no locking, no allocation.
//
// Source of the idea, with a vote over recent differences instead: Maruf and Chowdhury, "Effectively Prefetching Remote
// Memory with Leap", ATC 2020.
#pragma once

#include <cstdint>

namespace ebb {

struct Stride {
  uint64_t last = 0;   // the page that was missed last
  uint64_t used = 0;   // when, in observations
  int64_t step = 0;    // pages from one miss to the next
  uint64_t given = 0;  // steps after `last` that were provided
  uint32_t hits = 0;   // misses in a row that came where they were expected
  bool active = false;
};

class Strides {
 public:
  static constexpr unsigned kStrides = 8;
  static constexpr uint64_t kReach = 4096;    // pages; what is farther away is another walk
  static constexpr uint32_t kBelieved = 2;    // expected misses, after which
  static constexpr unsigned kMostSteps = 32;  // so many steps at most are provided at once

  // A miss at `page`, told once or more often. The walk that it belongs to; valid until the next observe().
  Stride& observe(uint64_t page) {
    ++clock_;
    Stride* nearest = nullptr;
    Stride* oldest = &strides_[0];
    for (Stride& s : strides_) {
      if (!s.active) {
        oldest = &s;
        continue;
      }
      if (s.last == page) return s;
      if (s.step && page == s.last + static_cast<uint64_t>(s.step) * (s.given + 1)) {
        if (s.hits < UINT32_MAX) ++s.hits;
        return at(s, page);
      }
      if (distance(s, page) < kReach && (!nearest || distance(s, page) < distance(*nearest, page))) nearest = &s;
      if (oldest->active && s.used < oldest->used) oldest = &s;
    }
    Stride& s = nearest ? *nearest : *oldest;
    s.step = nearest ? static_cast<int64_t>(page - s.last) : 0;
    s.hits = 0;
    s.active = true;
    return at(s, page);
  }
  // How many steps after a miss are worth loading with it: twice as many each time that the next miss came just behind
  // what was provided.
  static unsigned steps(const Stride& s) {
    if (s.hits < kBelieved) return 0;
    const uint32_t doublings = s.hits - kBelieved;
    return doublings < 4 ? 2u << doublings : kMostSteps;
  }

 private:
  static uint64_t distance(const Stride& s, uint64_t page) { return page > s.last ? page - s.last : s.last - page; }
  Stride& at(Stride& s, uint64_t page) {
    s.last = page;
    s.given = 0;
    s.used = clock_;
    return s;
  }

  Stride strides_[kStrides];
  uint64_t clock_ = 0;
};

}  // namespace ebb
