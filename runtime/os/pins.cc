// Rules: raw system calls only, no allocation, a small stack.
#include "os/pins.h"

#include <fcntl.h>
#include <cstdint>
#include <string_view>

#include "base/syscall.h"
#include "os/fd.h"

namespace ebb {
namespace {

// Of what getdents64(2) gives; the name follows.
struct Entry {
  uint64_t inode;
  int64_t offset;
  uint16_t bytes;
  static constexpr unsigned kName = 19;
};

int number_in(const char* text) {
  if (*text < '0' || *text > '9') return -1;
  int n = 0;
  for (; *text >= '0' && *text <= '9'; ++text) n = n * 10 + (*text - '0');
  return n;
}

// Devices that copy, and hold nothing.
bool holds_nothing(std::string_view device) {
  for (const std::string_view known : {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"})
    if (device == known) return true;
  for (const std::string_view known : {"pts/", "shm/", "tty", "mqueue/"})
    if (device.starts_with(known)) return true;
  return false;
}

bool may_hold(int folder, int fd, const char* name) {
  const long flags = raw_syscall(SYS_fcntl, fd, F_GETFL);
  if (!is_error(flags) && (flags & O_DIRECT)) return true;
  char target[128];
  const long n = raw_syscall(SYS_readlinkat, folder, as_arg(name), as_arg(target), sizeof target);
  if (is_error(n)) return false;  // closed meanwhile
  const std::string_view text(target, static_cast<size_t>(n));
  if (text == "anon_inode:[io_uring]") return true;
  return text.starts_with("/dev/") && !holds_nothing(text.substr(5));
}

}  // namespace

bool pages_may_be_held() {
  const long folder = raw_syscall(SYS_open, as_arg("/proc/thread-self/fd"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (is_error(folder)) return true;
  alignas(Entry) char buffer[1024];
  bool found = false;
  long n = 0;
  while (!found && (n = raw_syscall(SYS_getdents64, folder, as_arg(buffer), sizeof buffer)) > 0)
    for (long at = 0; !found && at < n;) {
      const char* name = buffer + at + Entry::kName;
      at += reinterpret_cast<const Entry*>(buffer + at)->bytes;
      const int fd = number_in(name);
      if (fd >= 0 && fd != folder && !is_protected(fd)) found = may_hold(static_cast<int>(folder), fd, name);
    }
  raw_syscall(SYS_close, folder);
  return found || is_error(n);
}

}  // namespace ebb
