// IoQueue on io_uring (liburing), and the pager's place to sleep: one wait for faults, completions and wake-ups.
//
// The ring belongs to the thread that opened it (single issuer, deferred task work: completions cost no interrupts of
// the program's threads). Not for other threads, not across fork.
#pragma once

#include <liburing.h>

#include "os/fd.h"
#include "os/kernel.h"

namespace ebb {

class UringQueue final : public IoQueue {
 public:
  static constexpr unsigned kDepth = 128;

  // Errors: ENOSYS, EPERM (seccomp, sysctl kernel.io_uring_disabled), ENOMEM, EMFILE.
  Result<void> open();
  void close();

  bool submit(const IoRequest& request) override;
  void flush() override;
  unsigned reap(IoCompletion* out, unsigned max) override;
  void wait_one() override;
  unsigned in_flight() const override { return in_flight_; }

  // Submits what is pending and sleeps until a completion, until one of the two descriptors is readable, or for
  // `timeout_ns`. Readability is level-triggered: the caller reads them dry. (To look for a completion for a
  // while instead of sleeping was measured to be slower: the processor is wanted, also by who emulates the device.)
  void wait(int fault_fd, int wake_fd, uint64_t timeout_ns);

 private:
  struct Slot {
    IoRequest request;
    uint32_t done = 0;
    bool used = false;
  };
  void prepare(unsigned slot);
  bool watch(int fd, uint64_t tag);
  // Handles one completion; true when it is one to report.
  bool absorb(const io_uring_cqe& cqe, IoCompletion* out);

  io_uring ring_ = {};
  Slot slots_[kDepth] = {};
  unsigned in_flight_ = 0;
  bool watching_[2] = {};
  bool open_ = false;
};

}  // namespace ebb
