// Our file descriptors inside the program's process: kept out of its way and out of its reach.
//
// Programs close every descriptor they do not know (daemons, Python's subprocess). Ours live at high numbers, close on
// exec, and are listed here so that the interposed close family can pass over them.
//
// Thread-safety: protect/unprotect under the runtime's lock; is_protected from anywhere, also in signal handlers and
// vfork children.
#pragma once

#include "base/result.h"

namespace ebb {

// Moves `fd` to a high number with O_CLOEXEC and protects it. On failure `fd` is closed.
Result<int> protect_fd(int fd);
// Closes a protected descriptor.
void close_protected(int fd);
// Takes a descriptor off the list without closing it.
void forget_protected(int fd);
bool is_protected(int fd);
// The smallest protected descriptor in [first, last]; -1 if there is none. For close_range.
int next_protected(int first, int last);

// Holds a protected descriptor for the life of the process: never closed by a destructor, since static destructors run
// while the program (and the pager under it) goes on.
class LastingFd {
 public:
  int get() const { return fd_; }
  void reset(int protected_fd = -1) {
    if (fd_ >= 0) close_protected(fd_);
    fd_ = protected_fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace ebb
