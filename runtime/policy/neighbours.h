// Neighbours: how many pages around a randomly touched one are worth loading with it. What was loaded beside waits out
// of sight, so that a touch of it is seen; it returns in groups, so that a dense use does not pay for each page. One
// page of each group, the sample, returns only when it is touched itself: the share of samples that were, before they
// had to go, is the share of neighbours that were worth it. A pure decision over counters.
#pragma once

#include <cstdint>

namespace ebb {

class Neighbours {
 public:
  static constexpr unsigned kMost = 256;

  constexpr explicit Neighbours(unsigned most = kMost, unsigned window = 16) : most_(most), window_(window) {}

  // Pages to load around a fault: 1, 4, 16, 64 or 256.
  unsigned window() const { return window_; }
  // The same for a miss that is about to be loaded: now and then a few pages while one is the rule, to learn whether it
  // still should be.
  unsigned window_of_miss() { return window_ == 1 && ++misses_ % kTried == 0 ? 4 : window_; }
  // How many pages return together with one of them, a power of two.
  unsigned group() const { return window_ > 64 ? window_ / 4 : 16; }
  // Which of `count` pages of a group is its sample.
  unsigned pick(unsigned count) {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    return static_cast<unsigned>((random_ >> 33) % count);
  }
  void touched(unsigned samples) { judged(samples, 0); }
  void dropped(unsigned samples) { judged(0, samples); }
  // A neighbour that nobody touches takes the place of a page that somebody will, so half of them have to be used; and
  // nearly all before a request grows so large that the next one waits for it.
  void judged(unsigned touched, unsigned untouched) {
    touched_ += touched;
    judged_ += touched + untouched;
    if (judged_ < kJudged) return;
    if (touched_ * 4 >= judged_ * (window_ < 16 ? 2u : 3u))
      window_ = window_ < most_ ? window_ * 4 : most_;
    else if (touched_ * 4 < judged_ * (window_ <= 16 ? 1u : 2u))
      window_ = window_ > 1 ? window_ / 4 : 1;
    touched_ = judged_ = 0;
  }
  // The quick sign of locality while the window is one page: faults right beside memory that is there (`near`) where
  // memory farther away (`far`) is not. With both there, most memory is, which says nothing.
  void missed(bool near, bool far) {
    if (!near) {
      beside_ = 0;
    } else if (!far && window_ == 1 && ++beside_ >= kBeside) {
      window_ = 4;
      beside_ = 0;
    }
  }

 private:
  static constexpr unsigned kJudged = 24;  // samples between two decisions
  static constexpr unsigned kBeside = 8;
  static constexpr unsigned kTried = 32;

  unsigned most_;
  unsigned window_;
  unsigned touched_ = 0, judged_ = 0, beside_ = 0, misses_ = 0;
  uint64_t random_ = 1;
};

}  // namespace ebb
