// Rules: the pager's thread only; liburing's inline fast paths and its raw system calls, nothing of libc.
#include "os/uring_queue.h"

#include <fcntl.h>
#include <poll.h>
#include <cerrno>

#include "base/check.h"
#include "base/syscall.h"

namespace ebb {
namespace {
constexpr uint64_t kWatchTag = uint64_t{1} << 32;  // + 0 faults, + 1 wake-ups; smaller tags are slots
}

Result<void> UringQueue::open() {
  io_uring_params params = {};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
  params.cq_entries = 4 * kDepth;
  int r = io_uring_queue_init_params(2 * kDepth, &ring_, &params);
  if (r == -EINVAL) {  // before Linux 6.1
    params = {};
    r = io_uring_queue_init_params(2 * kDepth, &ring_, &params);
  }
  if (r < 0) return Errno{-r};
  const auto safe = protect_fd(ring_.ring_fd);
  if (!safe.ok()) return safe.error();
  ring_.ring_fd = ring_.enter_ring_fd = safe.value();
  open_ = true;
  return {};
}

void UringQueue::close() {
  if (!open_) return;
  forget_protected(ring_.ring_fd);
  io_uring_queue_exit(&ring_);
  open_ = false;
  in_flight_ = 0;
  watching_[0] = watching_[1] = false;
}

bool UringQueue::submit(const IoRequest& request) {
  if (in_flight_ == kDepth) return false;
  unsigned slot = 0;
  while (slots_[slot].used) ++slot;
  slots_[slot] = {request, 0, true};
  ++in_flight_;
  prepare(slot);
  return true;
}

void UringQueue::prepare(unsigned slot) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (!sqe) {
    flush();
    sqe = io_uring_get_sqe(&ring_);
  }
  EBB_CHECK(sqe);
  const Slot& s = slots_[slot];
  char* buffer = static_cast<char*>(s.request.buffer) + s.done;
  const uint32_t bytes = s.request.bytes - s.done;
  const uint64_t offset = s.request.offset + s.done;
  if (s.request.write)
    io_uring_prep_write(sqe, s.request.fd, buffer, bytes, offset);
  else
    io_uring_prep_read(sqe, s.request.fd, buffer, bytes, offset);
  io_uring_sqe_set_data64(sqe, slot);
}

void UringQueue::flush() {
  if (io_uring_sq_ready(&ring_)) io_uring_submit(&ring_);
}

bool UringQueue::absorb(const io_uring_cqe& cqe, IoCompletion* out) {
  if (cqe.user_data >= kWatchTag) {
    watching_[cqe.user_data - kWatchTag] = false;
    return false;
  }
  Slot& s = slots_[cqe.user_data];
  if (cqe.res == -EINTR || cqe.res == -EAGAIN) {
    prepare(static_cast<unsigned>(cqe.user_data));
    return false;
  }
  if (cqe.res > 0) s.done += static_cast<uint32_t>(cqe.res);
  if (cqe.res > 0 && s.done < s.request.bytes) {
    prepare(static_cast<unsigned>(cqe.user_data));
    return false;
  }
  *out = {s.request.tag, cqe.res < 0 ? cqe.res : static_cast<int32_t>(s.done)};
  s.used = false;
  --in_flight_;
  return true;
}

unsigned UringQueue::reap(IoCompletion* out, unsigned max) {
  unsigned n = 0;
  if (!in_flight_) return 0;
  if (!io_uring_cq_ready(&ring_)) io_uring_get_events(&ring_);
  io_uring_cqe* cqe = nullptr;
  while (n < max && io_uring_peek_cqe(&ring_, &cqe) == 0) {
    if (absorb(*cqe, out + n)) ++n;
    io_uring_cqe_seen(&ring_, cqe);
  }
  return n;
}

void UringQueue::wait_one() {
  flush();
  io_uring_cqe* cqe = nullptr;
  (void)io_uring_wait_cqe(&ring_, &cqe);
}

bool UringQueue::watch(int fd, uint64_t which) {
  if (fd < 0 || watching_[which]) return false;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (!sqe) return false;
  io_uring_prep_poll_add(sqe, fd, POLLIN);
  io_uring_sqe_set_data64(sqe, kWatchTag + which);
  return watching_[which] = true;
}

void UringQueue::wait(int fault_fd, int wake_fd, uint64_t timeout_ns) {
  if (in_flight_ == 0) {
    // Nothing but the two descriptors: a plain poll is cheaper than two ring operations.
    flush();
    pollfd fds[2] = {{fault_fd, POLLIN, 0}, {wake_fd, POLLIN, 0}};
    const __kernel_timespec ts = {static_cast<long long>(timeout_ns / 1'000'000'000),
                                  static_cast<long long>(timeout_ns % 1'000'000'000)};
    raw_syscall(SYS_ppoll, as_arg(fds), 2, as_arg(&ts), 0, 8);
    return;
  }
  watch(fault_fd, 0);
  watch(wake_fd, 1);
  __kernel_timespec ts = {static_cast<long long>(timeout_ns / 1'000'000'000),
                          static_cast<long long>(timeout_ns % 1'000'000'000)};
  io_uring_cqe* cqe = nullptr;
  (void)io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &ts, nullptr);
}

}  // namespace ebb
