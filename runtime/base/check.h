// EBB_CHECK: an assertion that stays on in release. It guards the pager's own bookkeeping: going on after one of these
// is false could hand the program a wrong byte, which is the one thing worse than stopping it.
#pragma once

namespace ebb {

// Prints "ebbtide: internal error: WHAT (FILE:LINE)" and aborts the process. Allocates nothing, takes no lock.
[[noreturn, gnu::cold]] void check_failed(const char* what, const char* file, int line);

}  // namespace ebb

#define EBB_CHECK(condition)                                    \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::ebb::check_failed(#condition, __FILE_NAME__, __LINE__); \
  } while (0)
