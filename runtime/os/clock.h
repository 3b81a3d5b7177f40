// The kernel's clocks, read by raw system call: the pager's thread has no libc state.
#pragma once

#include <cstdint>
#include <time.h>

#include "base/syscall.h"

namespace ebb {

// Nanoseconds of CLOCK_MONOTONIC, or of another clock.
inline uint64_t clock_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t = {};
  raw_syscall(SYS_clock_gettime, clock, as_arg(&t));
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace ebb
