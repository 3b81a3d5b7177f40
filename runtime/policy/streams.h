// Streams: tells sequential walks from random touches, several at once, forwards and backwards. A pure decision over
// the page numbers of faults; no I/O, no locking, no allocation.
#pragma once

#include <cstdint>

namespace ebb {

struct Stream {
  uint64_t next = 0;  // the page at which the walk should fault next
  uint64_t last = 0;  // the page at which it faulted last
  uint64_t used = 0;  // when it last advanced, in observations
  uint32_t hits = 0;  // faults in a row that came where they were expected
  int8_t direction = 1;
  bool active = false;
};

class Streams {
 public:
  static constexpr unsigned kStreams = 16;
  // How far from the expected page a fault may be and still belong to the walk. Small: a stride of more pages wants
  // these pages and not what lies between.
  static constexpr uint64_t kSlack = 4;
  // A walk is believed after this many expected faults.
  static constexpr uint32_t kBelieved = 2;
  // And counts as a scan, whose pages are the first to go, after this many.
  static constexpr uint32_t kProven = 5;
  static constexpr uint32_t kMostDoublings = 12;  // 32 MiB

  // A fault at `page`. The stream it belongs to, a new one (hits == 0) if to none. Valid until the next observe().
  // A fault that is told again, because it had to wait, is the same fault. `there`: so many pages just before it came
  // to DRAM without being asked for, and a walk through them was not told.
  Stream& observe(uint64_t page, uint64_t there = 0) {
    ++clock_;
    Stream* oldest = &streams_[0];
    for (Stream& s : streams_) {
      if (s.active && s.last == page) return s;
      if (s.active && expected(s, page, there)) return advance(s, page);
      if (!s.active || (oldest->active && s.used < oldest->used)) oldest = &s;
    }
    // A second touch just below a fresh one turns it round.
    for (Stream& s : streams_) {
      if (s.active && s.hits == 0 && page < s.last && s.last - page < kSlack) {
        s.direction = -1;
        return advance(s, page);
      }
    }
    *oldest = {page + 1, page, clock_, 0, 1, true};
    return *oldest;
  }
  // Whether `page` is among what was provided for a walk and not expected to be told.
  bool provided(uint64_t page) const {
    for (const Stream& s : streams_) {
      if (!s.active || !s.hits) continue;
      if (s.direction > 0 ? page > s.last && page + 1 < s.next : page < s.last && page > s.next) return true;
    }
    return false;
  }
  // How many pages ahead of it a walk has earned: few while it may be no more than a row of a matrix, twice as many
  // with every fault that comes where it was expected.
  static uint64_t earned(const Stream& s) { return uint64_t{2} << (s.hits < kMostDoublings ? s.hits : kMostDoublings); }
  // The walk's next fault is expected at `page`: what is before it has been provided.
  static void provided(Stream& s, uint64_t page) { s.next = page; }

  Stream* begin() { return streams_; }
  Stream* end() { return streams_ + kStreams; }
  // Whether `s` is still among the walks that advanced lately.
  bool recent(const Stream& s) const { return s.active && clock_ - s.used < 4 * kStreams; }

 private:
  static bool expected(const Stream& s, uint64_t page, uint64_t there) {
    if (s.direction > 0) return page + 1 >= s.next && page < s.next + kSlack + there;
    return page <= s.next && page + kSlack > s.next;
  }
  Stream& advance(Stream& s, uint64_t page) {
    s.next = s.direction > 0 ? page + 1 : (page ? page - 1 : 0);
    s.last = page;
    s.used = clock_;
    if (s.hits < UINT32_MAX) ++s.hits;
    return s;
  }

  Stream streams_[kStreams];
  uint64_t clock_ = 0;
};

}  // namespace ebb
