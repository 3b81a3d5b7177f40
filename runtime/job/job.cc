// Rules: see job.h.
#include "job/job.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <cerrno>
#include <new>

#include "base/syscall.h"
#include "os/fd.h"

namespace ebb {
namespace {

Errno errno_of(long r) { return is_error(r) ? Errno{static_cast<int>(-r)} : Errno{}; }

}  // namespace

Errno Job::attach(const char* path, Bytes budget) {
  long fd = path ? raw_syscall(SYS_open, as_arg(path), O_RDWR | O_CLOEXEC)
                 : raw_syscall(SYS_memfd_create, as_arg("ebbtide-job"), 1 /* MFD_CLOEXEC */);
  if (is_error(fd)) return errno_of(fd);
  const auto safe = protect_fd(static_cast<int>(fd));
  if (!safe.ok()) return safe.error();
  fd = safe.value();
  if (!path) raw_syscall(SYS_ftruncate, fd, sizeof(JobControl));
  struct stat st = {};
  const long known = raw_syscall(SYS_fstat, fd, as_arg(&st));
  const long map = is_error(known) || st.st_size < static_cast<off_t>(sizeof(JobControl))
                       ? -EINVAL
                       : raw_syscall(SYS_mmap, 0, sizeof(JobControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (is_error(map)) {
    close_protected(static_cast<int>(fd));
    return errno_of(map);
  }
  auto* control = reinterpret_cast<JobControl*>(map);
  if (!path) {
    new (control) JobControl;
    control->magic = kControlMagic;
    control->version = kControlVersion;
    control->size = sizeof(JobControl);
    control->budget.store(budget.count);
  }
  if (control->magic != kControlMagic || control->version != kControlVersion || control->size != sizeof(JobControl)) {
    raw_syscall(SYS_munmap, map, sizeof(JobControl));
    close_protected(static_cast<int>(fd));
    return {EINVAL};
  }
  fd_ = static_cast<int>(fd);
  control_ = control;
  return take_slot();
}

bool Job::own_lock(unsigned slot) {
  const struct flock lock = byte_lock(slot, F_WRLCK);
  return !is_error(raw_syscall(SYS_fcntl, fd_, F_SETLK, as_arg(&lock)));
}

void Job::unlock(unsigned slot) {
  const struct flock lock = byte_lock(slot, F_UNLCK);
  raw_syscall(SYS_fcntl, fd_, F_SETLK, as_arg(&lock));
}

// Locks the slot if no process has it that lives.
bool Job::take_if_free(unsigned slot) {
  if (!own_lock(slot)) return false;
  const int32_t pid = control_->slot[slot].pid.load();
  if (!control_->locks_lost.load() || pid == 0 || pid == raw_syscall(SYS_getpid)) return true;
  if (raw_syscall(SYS_kill, pid, 0) == -ESRCH) return true;
  unlock(slot);
  return false;
}

void Job::keep_lock() {
  if (!slot_) return;
  const auto index = static_cast<unsigned>(slot_ - control_->slot);
  // A lock of the open file meets those of all processes, our own included.
  struct flock lock = byte_lock(index, F_WRLCK);
  if (is_error(raw_syscall(SYS_fcntl, fd_, F_OFD_GETLK, as_arg(&lock))) || lock.l_type != F_UNLCK) return;
  control_->locks_lost.store(1);
  (void)own_lock(index);
}

bool Job::being_frozen() const {
  struct flock lock = byte_lock(kFreezerByte, F_WRLCK);
  return is_error(raw_syscall(SYS_fcntl, fd_, F_GETLK, as_arg(&lock))) || lock.l_type != F_UNLCK;
}

void Job::clear(JobSlot& slot) {
  // What it had lent may still be in DRAM with its children.
  slot.borrowed.store(0);
  const uint64_t charged = slot.charged.exchange(0), lent = slot.lent.exchange(0);
  const uint64_t stays = lent < charged ? lent : charged;
  control_->orphaned.fetch_add(stays);
  control_->charged.fetch_sub(charged - stays);
  control_->managed.fetch_sub(slot.managed.exchange(0));
  control_->stored.fetch_sub(slot.stored.exchange(0));
  slot.own_bytes.store(0);
  slot.paged.store(0);
  slot.pid.store(0);
  JobFreeze& freeze = control_->freeze[&slot - control_->slot];
  freeze.request.store(Freeze::kNone);
  freeze.answer.store(Freeze::kNone);
  freeze.pager.store(0);
  freeze.wake.store(-1);
}

Errno Job::take_slot() {
  const auto pid = static_cast<int32_t>(raw_syscall(SYS_getpid));
  for (unsigned i = 0; i < kJobSlots; ++i) {
    if (slot_ && slot_ == &control_->slot[i]) continue;  // a fork child: that one is its parent's
    if (!take_if_free(i)) continue;
    slot_ = &control_->slot[i];
    clear(*slot_);
    slot_->pid.store(pid);
    control_->counters.processes.fetch_add(1);
    return {};
  }
  return {EMFILE};
}

Bytes Job::reclaim_dead() {
  keep_lock();
  Bytes found{};
  for (unsigned i = 0; i < kJobSlots; ++i) {
    JobSlot& slot = control_->slot[i];
    if (&slot == slot_ || slot.pid.load() == 0 || !take_if_free(i)) continue;
    found += Bytes{slot.charged.load()};
    clear(slot);
    unlock(i);
  }
  return found;
}

}  // namespace ebb
