// The kernel's clocks, for code that may not call libc.
#pragma once

#include <cstdint>
#include <ctime>

namespace ebb {

// Nanoseconds of CLOCK_MONOTONIC, or of another clock. By the kernel's vDSO once clock_open() has found it.
uint64_t clock_ns(clockid_t clock = CLOCK_MONOTONIC);

// Looks for clock_gettime in the vDSO: without a system call a clock costs a fiftieth, where those are dear. The one
// of libc will not do: other preloaded libraries take it over, for threads that have libc's state. May be called again.
void clock_open();

}  // namespace ebb
