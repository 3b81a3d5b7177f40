// FakeKernel: the whole OS contract simulated, for tests of the layers above os/. Its parts share one world: transfers
// hold simulated pages, files run out of one capacity, and time stands still unless the test moves it.
#pragma once

#include "fake_files.h"
#include "fake_pages.h"

namespace ebb {

class FakeClock final : public Clock {
 public:
  uint64_t now_ns() override { return now_ += tick; }
  void advance(uint64_t ns) { now_ += ns; }
  // Added at each look, for code that waits for time to pass.
  uint64_t tick = 0;

 private:
  uint64_t now_ = 1'000'000'000;
};

struct FakeKernel {
  FakePages pages;
  FakeFiles files;
  FakeIo io{pages, files};
  FakeClock clock;
};

}  // namespace ebb
