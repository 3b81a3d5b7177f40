// ForkCount: how many forks of a job have a child that has not said yet what it borrows, by when they began. A child
// that is killed before it could is waited for in vain, but not for longer than its span of time and the next one,
// however many are made meanwhile. One word for each of the two spans, changed as a whole: the job's processes count at
// the same time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace ebb {

class ForkCount {
 public:
  static constexpr uint64_t kSpanNs = 10'000'000'000;

  using Words = std::atomic<uint64_t>[2];  // in the job's control page

  explicit ForkCount(Words& words) : words_(words) {}
  // The span, for end().
  uint64_t begin(uint64_t now_ns) {
    const uint64_t span = now_ns / kSpanNs;
    std::atomic<uint64_t>& word = words_[span % 2];
    uint64_t was = word.load(), next;
    do next = (is_of(was, span) ? was : first(span)) + kBegun;
    while (!word.compare_exchange_weak(was, next));
    return span;
  }
  void end(uint64_t span) {
    std::atomic<uint64_t>& word = words_[span % 2];
    uint64_t was = word.load();
    while (is_of(was, span) && !word.compare_exchange_weak(was, was + kDone)) {
    }
  }
  // Equal to another answer: no fork has begun or was done in between.
  std::array<uint64_t, 2> words() const { return {words_[0].load(), words_[1].load()}; }
  static bool some_unsaid(const std::array<uint64_t, 2>& words, uint64_t now_ns) {
    const uint64_t span = now_ns / kSpanNs;
    return unsaid(words, span) || (span && unsaid(words, span - 1));
  }

 private:
  // From the highest: 24 bits of the span, 20 bits of forks that began, 20 bits of those that are done.
  static constexpr unsigned kBits = 20;
  static constexpr uint64_t kDone = 1, kBegun = uint64_t{1} << kBits, kMask = kBegun - 1;
  static uint64_t first(uint64_t span) { return span << (2 * kBits); }
  static bool is_of(uint64_t word, uint64_t span) { return word >> (2 * kBits) == first(span) >> (2 * kBits); }
  static bool unsaid(const std::array<uint64_t, 2>& words, uint64_t span) {
    const uint64_t word = words[span % 2];
    return is_of(word, span) && ((word >> kBits) & kMask) != (word & kMask);
  }

  Words& words_;
};

}  // namespace ebb
