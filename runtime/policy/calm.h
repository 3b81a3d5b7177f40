// Calm: whether memory has been left alone for long enough to be written to the store ahead of need. What is written
// ahead is protected, so each later write to it costs the program a fault, and the device a second writing: an extent
// that was changed again soon after has to be left alone for longer the next time.
//
// One for each extent, without a thread-safety of its own.
#pragma once

#include <cstdint>

namespace ebb {

class Calm {
 public:
  static constexpr uint64_t kShortNs = 1'000'000'000;  // for what has never been changed again
  static constexpr uint64_t kLongNs = 60'000'000'000;  // clean for so long: what was before does not count any more
  static constexpr unsigned kMostRewrites = 6;

  // To be asked now and then. `pages`: how many are there now; a change is a sign of life, too.
  bool ripe(unsigned pages, uint64_t now_ns) {
    if (pages != seen_) {
      seen_ = static_cast<uint16_t>(pages);
      since_ns_ = now_ns;
      return false;
    }
    return now_ns - since_ns_ >= kShortNs << rewrites_;
  }
  void cleaned(uint64_t now_ns) {
    clean_ = true;
    since_ns_ = now_ns;
  }
  // The first write after cleaned(), or one more.
  void written(uint64_t now_ns) {
    if (clean_) {
      clean_ = false;
      if (now_ns - since_ns_ >= kLongNs)
        rewrites_ = 0;
      else if (rewrites_ < kMostRewrites)
        ++rewrites_;
    }
    since_ns_ = now_ns;
  }

 private:
  uint64_t since_ns_ = 0;  // when it was last cleaned, written to or seen to have changed
  uint16_t seen_ = 0;
  uint8_t rewrites_ = 0;
  bool clean_ = false;
};

}  // namespace ebb
