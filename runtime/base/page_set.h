// PageSet: a subset of the 512 pages of one extent, as a bitmap. Passive data, no locking.
#pragma once

#include <bit>
#include <cstdint>

#include "base/units.h"

namespace ebb {

// A run of consecutive pages of one extent: [first, first + count).
struct PageRun {
  unsigned first = 0;
  unsigned count = 0;
  constexpr unsigned end() const { return first + count; }
  constexpr bool empty() const { return count == 0; }
  constexpr bool operator==(const PageRun&) const = default;
};

// The group of `pages`, a power of two, aligned to as many, that page `i` belongs to.
constexpr PageRun block_of(unsigned i, unsigned pages = kPagesPerBlock) {
  return {static_cast<unsigned>(align_down(i, pages)), pages};
}

class PageSet {
 public:
  static constexpr unsigned kPages = kPagesPerExtent;

  static constexpr PageSet all() {
    PageSet s;
    for (auto& w : s.words_) w = ~uint64_t{0};
    return s;
  }
  static constexpr PageSet of(PageRun run) {
    PageSet s;
    s.set(run);
    return s;
  }

  constexpr bool test(unsigned i) const { return (words_[i / 64] >> (i % 64)) & 1; }
  constexpr void set(unsigned i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
  constexpr void clear(unsigned i) { words_[i / 64] &= ~(uint64_t{1} << (i % 64)); }
  constexpr void set(PageRun run) {
    apply(run, [](uint64_t& w, uint64_t m) { w |= m; });
  }
  constexpr void clear(PageRun run) {
    apply(run, [](uint64_t& w, uint64_t m) { w &= ~m; });
  }

  constexpr bool none() const {
    uint64_t any = 0;
    for (auto w : words_) any |= w;
    return any == 0;
  }
  constexpr bool any() const { return !none(); }
  constexpr bool full() const {
    uint64_t every = ~uint64_t{0};
    for (auto w : words_) every &= w;
    return every == ~uint64_t{0};
  }
  constexpr unsigned count() const {
    unsigned n = 0;
    for (auto w : words_) n += static_cast<unsigned>(std::popcount(w));
    return n;
  }
  constexpr Pages pages() const { return {count()}; }
  // How many runs for_each_run() finds.
  constexpr unsigned runs() const {
    unsigned n = 0;
    uint64_t before = 0;  // the last page of the word before
    for (auto w : words_) {
      n += static_cast<unsigned>(std::popcount(w & ~(w << 1 | before)));
      before = w >> 63;
    }
    return n;
  }

  constexpr PageSet operator&(const PageSet& o) const {
    return zip(o, [](auto a, auto b) { return a & b; });
  }
  constexpr PageSet operator|(const PageSet& o) const {
    return zip(o, [](auto a, auto b) { return a | b; });
  }
  constexpr PageSet minus(const PageSet& o) const {
    return zip(o, [](auto a, auto b) { return a & ~b; });
  }
  constexpr PageSet& operator|=(const PageSet& o) { return *this = *this | o; }
  constexpr PageSet& operator&=(const PageSet& o) { return *this = *this & o; }
  constexpr PageSet& remove(const PageSet& o) { return *this = minus(o); }
  constexpr bool operator==(const PageSet&) const = default;
  constexpr bool intersects(const PageSet& o) const { return (*this & o).any(); }

  // The first page at or after `from` that is in the set; kPages if there is none.
  constexpr unsigned next(unsigned from) const { return scan(from, 0); }
  // The first page at or after `from` that is not in the set; kPages if there is none.
  constexpr unsigned next_gap(unsigned from) const { return scan(from, ~uint64_t{0}); }
  // Where the run of set pages that ends just before `end` begins; `end` if there is none.
  constexpr unsigned run_before(unsigned end) const {
    while (end && test(end - 1)) --end;
    return end;
  }
  // The first run of set pages that starts at or after `from`; empty if there is none.
  constexpr PageRun next_run(unsigned from) const {
    const unsigned first = next(from);
    if (first == kPages) return {kPages, 0};
    return {first, next_gap(first) - first};
  }

  // Calls fn(PageRun) for each run, in order.
  template <class Fn>
  constexpr void for_each_run(Fn fn) const {
    for (PageRun r = next_run(0); !r.empty(); r = next_run(r.end())) fn(r);
  }

 private:
  static constexpr unsigned kWords = kPages / 64;

  template <class Fn>
  constexpr void apply(PageRun run, Fn fn) {
    for (unsigned at = run.first; at < run.end();) {
      const unsigned word = at / 64, bit = at % 64;
      const unsigned n = run.end() - at < 64 - bit ? run.end() - at : 64 - bit;
      const uint64_t mask = (n == 64 ? ~uint64_t{0} : ((uint64_t{1} << n) - 1)) << bit;
      fn(words_[word], mask);
      at += n;
    }
  }
  template <class Fn>
  constexpr PageSet zip(const PageSet& o, Fn fn) const {
    PageSet r;
    for (unsigned i = 0; i < kWords; ++i) r.words_[i] = fn(words_[i], o.words_[i]);
    return r;
  }
  constexpr unsigned scan(unsigned from, uint64_t flip) const {
    for (unsigned word = from / 64; word < kWords; ++word) {
      uint64_t w = words_[word] ^ flip;
      if (word == from / 64) w &= ~uint64_t{0} << (from % 64);
      if (w) return word * 64 + static_cast<unsigned>(std::countr_zero(w));
    }
    return kPages;
  }

  uint64_t words_[kWords] = {};
};

}  // namespace ebb
