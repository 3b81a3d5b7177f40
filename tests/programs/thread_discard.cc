// One thread discards and maps over parts of a range while others write and read the parts beside them.
// run: dram=32M cold
#include <atomic>
#include <thread>

#include "cold.h"

int main() {
  constexpr size_t kBytes = size_t{64} << 20, kStripe = 7 * 4096;
  char* p = cold_map(kBytes);
  std::atomic<bool> stop{false};
  // Even stripes belong to the writer, odd ones to the discarder.
  std::thread writer([&] {
    for (uint64_t round = 1; round <= 6; ++round) {
      for (size_t at = 0; at + kStripe <= kBytes; at += 2 * kStripe) cold_fill(p + at, kStripe, round);
      for (size_t at = 0; at + kStripe <= kBytes; at += 2 * kStripe) EXPECT_FILLED(p + at, kStripe, round);
    }
    stop = true;
  });
  for (uint64_t round = 0; !stop; ++round)
    for (size_t at = kStripe; at + kStripe <= kBytes && !stop; at += 2 * kStripe) {
      if (round) EXPECT_FILLED(p + at, kStripe, 1000 + round - 1);
      if (at % 3)
        EXPECT(madvise(p + at, kStripe, MADV_DONTNEED) == 0);
      else
        EXPECT(mmap(p + at, kStripe, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + at);
      EXPECT_ZERO(p + at, kStripe);
      cold_fill(p + at, kStripe, 1000 + round);
    }
  writer.join();
  puts("ok");
  return 0;
}
