// The calls that close descriptors, so that a program that closes all it does not know cannot take ours.
//
// Rule: our descriptors do not exist for the program. Closing one fails with EBADF; closing a range passes over it and
// succeeds; duplicating onto one is refused like a number above the limit. Async-signal-safe, no lock.
#include <linux/close_range.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cerrno>
#include <climits>

#include "base/syscall.h"
#include "os/fd.h"

#define EBB_EXPORT [[gnu::visibility("default")]]

extern "C" int __close(int fd);  // glibc's own close, a cancellation point as it must be

namespace {

int finish(long result) {
  if (!ebb::is_error(result)) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}

// close_range(2) over [first, last], around ours.
long close_around(unsigned first, unsigned last, int flags) {
  while (first <= last) {
    const int top = last > INT_MAX ? INT_MAX : static_cast<int>(last);
    const int ours = first > INT_MAX ? -1 : ebb::next_protected(static_cast<int>(first), top);
    const unsigned end = ours < 0 ? last : static_cast<unsigned>(ours) - 1;
    if (ours < 0 || end + 1 > first) {
      const long result = ebb::raw_syscall(SYS_close_range, first, end, flags);
      if (ebb::is_error(result)) return result;
    }
    if (ours < 0) return 0;
    first = static_cast<unsigned>(ours) + 1;
  }
  return 0;
}

}  // namespace

extern "C" {

EBB_EXPORT int close(int fd) {
  if (ebb::is_protected(fd)) [[unlikely]] {
    errno = EBADF;
    return -1;
  }
  return __close(fd);
}

EBB_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  if (first > last) return finish(-EINVAL);
  return finish(close_around(first, last, flags));
}

EBB_EXPORT void closefrom(int lowest) noexcept {
  const unsigned first = lowest < 0 ? 0 : static_cast<unsigned>(lowest);
  if (!ebb::is_error(close_around(first, UINT_MAX, 0))) return;
  // Linux before 5.9: one by one, below the limit.
  rlimit limit = {};
  ebb::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, ebb::as_arg(&limit));
  for (unsigned fd = first; fd < limit.rlim_cur && fd <= INT_MAX; ++fd)
    if (!ebb::is_protected(static_cast<int>(fd))) ebb::raw_syscall(SYS_close, fd);
}

EBB_EXPORT int dup2(int from, int to) noexcept {
  if (ebb::is_protected(from) || ebb::is_protected(to)) return finish(-EBADF);
  return finish(ebb::raw_syscall(SYS_dup2, from, to));
}

EBB_EXPORT int dup3(int from, int to, int flags) noexcept {
  if (ebb::is_protected(from) || ebb::is_protected(to)) return finish(-EBADF);
  return finish(ebb::raw_syscall(SYS_dup3, from, to, flags));
}

}  // extern "C"
