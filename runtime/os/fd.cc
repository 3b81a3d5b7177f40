#include "os/fd.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <atomic>
#include <cerrno>

#include "base/syscall.h"

namespace ebb {
namespace {

constexpr int kSlots = 300;  // 255 store layers, userfaultfd, ring, pagemap, control page and a few more
constinit std::atomic<int> g_protected[kSlots] = {};  // descriptor + 1; 0 is a free slot
constinit std::atomic<int> g_lowest{INT32_MAX};       // so that the usual close(2) costs one comparison

// A number that the program will hardly reach by counting up, below its limit.
int preferred_number() {
  struct rlimit limit = {};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(&limit));
  const auto soft = static_cast<long>(limit.rlim_cur > 65536 ? 65536 : limit.rlim_cur);
  return static_cast<int>(soft > 2 * kSlots ? soft - kSlots : soft / 2);
}

}  // namespace

Result<int> protect_fd(int fd) {
  const long high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, preferred_number());
  raw_syscall(SYS_close, fd);
  if (is_error(high)) return Errno{static_cast<int>(-high)};
  for (auto& slot : g_protected) {
    int free = 0;
    if (slot.compare_exchange_strong(free, static_cast<int>(high) + 1)) {
      if (high < g_lowest.load(std::memory_order_relaxed)) g_lowest.store(static_cast<int>(high));
      return static_cast<int>(high);
    }
  }
  raw_syscall(SYS_close, high);
  return Errno{EMFILE};
}

void forget_protected(int fd) {
  for (auto& slot : g_protected) {
    int held = fd + 1;
    if (slot.compare_exchange_strong(held, 0)) break;
  }
}

void close_protected(int fd) {
  forget_protected(fd);
  raw_syscall(SYS_close, fd);
}

bool is_protected(int fd) { return next_protected(fd, fd) >= 0; }

int next_protected(int first, int last) {
  if (last < g_lowest.load(std::memory_order_relaxed)) return -1;
  int best = -1;
  for (const auto& slot : g_protected) {
    const int fd = slot.load(std::memory_order_relaxed) - 1;
    if (fd >= first && fd <= last && (best < 0 || fd < best)) best = fd;
  }
  return best;
}

}  // namespace ebb
