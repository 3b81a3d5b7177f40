// Neighbours: how many pages around a randomly touched one are worth loading with it. What was loaded beside waits out
// of sight, so that a touch of it is seen: the share of neighbours that were touched before they were dropped decides.
// A pure decision over counters.
#pragma once

#include <cstdint>

namespace ebb {

class Neighbours {
 public:
  // Pages to load around a fault, a power of two: 1, 4 or 16.
  unsigned window() const { return window_; }
  void touched(unsigned pages) { note(pages, pages); }
  void dropped(unsigned pages) { note(0, pages); }
  // A fault right beside memory that is there: the only sign of locality while the window is one page.
  void beside() {
    if (window_ == 1 && ++beside_ >= kBeside) {
      window_ = 4;
      beside_ = 0;
    }
  }
  void alone() { beside_ = 0; }

 private:
  static constexpr unsigned kJudged = 256;  // pages between two decisions
  static constexpr unsigned kBeside = 8;

  void note(unsigned good, unsigned all) {
    touched_ += good;
    judged_ += all;
    if (judged_ < kJudged) return;
    // A neighbour costs a sixteenth of the request that it saves: worth it from about one in eight on.
    if (touched_ * 4 >= judged_)
      window_ = window_ < 16 ? window_ * 4 : 16;
    else if (touched_ * 8 < judged_)
      window_ = window_ > 1 ? window_ / 4 : 1;
    touched_ = judged_ = 0;
  }

  unsigned window_ = 16;
  unsigned touched_ = 0, judged_ = 0, beside_ = 0;
};

}  // namespace ebb
