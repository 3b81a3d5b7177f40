// How far a long step is.
#pragma once

#include <functional>

#include "base/units.h"

namespace ebb::snapshot {

// Called often, from the thread that does the work; may be empty. `step` is a word for people: "check", "write".
using Progress = std::function<void(const char* step, Bytes done, Bytes total)>;

// Adds up what is done of one step.
class Meter {
 public:
  // Keeps a reference: `progress` must live longer.
  Meter(const Progress& progress, const char* step, Bytes total) : progress_(progress), step_(step), total_(total) {}
  void add(Bytes bytes) {
    done_ += bytes;
    if (progress_) progress_(step_, done_, total_);
  }

 private:
  const Progress& progress_;
  const char* step_;
  Bytes total_;
  Bytes done_{};
};

}  // namespace ebb::snapshot
