// How far a long step is, on a terminal.
#pragma once

#include <chrono>

#include "base/units.h"

namespace ebb::tools {

// One line on stderr that is written over, from the second second on and only when stderr is a terminal; the destructor
// takes it away. For one thread.
class TerminalProgress {
 public:
  TerminalProgress();
  TerminalProgress(const TerminalProgress&) = delete;
  ~TerminalProgress();
  // `step` is a word: "check".
  void show(const char* step, Bytes done, Bytes total);

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point next_;  // not before
};

}  // namespace ebb::tools
