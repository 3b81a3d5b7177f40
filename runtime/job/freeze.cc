// What a snapshot asks of this process. Rules: see freeze.h.
#include "job/freeze.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <cerrno>
#include <optional>

#include "base/log.h"

namespace ebb {
namespace {

constexpr uint64_t kCleanNs = 2'000'000;  // of a round, before the program's faults have their turn
constexpr Pages kLittle{4096};            // to be looked at with the program stopped
constexpr unsigned kMostWalks = 4;        // a program that writes faster than the tier is stopped in the end
constexpr unsigned kMostDrains = 8;
constexpr uint64_t kForkRetryNs = 1'000'000;  // somebody forks
constexpr uint64_t kLookNs = 500'000'000;     // is the tool there still?
// Between walks that clean ahead: after one that found something to write, and at most, while they find nothing.
constexpr uint64_t kWalkNs = 500'000'000, kLongestWalkNs = 8'000'000'000;
constexpr uint64_t kTierFullNs = 60'000'000'000;  // after one that could not write
constexpr uint64_t kMergeFailedNs = 10'000'000'000;

struct Timespec {
  int64_t seconds, nanoseconds;
};

// The kernel limits the mappings of a process (vm.max_map_count), and refuses everything once there are more, the way
// back too. So some are taken before the store's files are mapped, and given back whatever becomes of that.
class SpareMaps {
 public:
  SpareMaps() {
    constexpr uint64_t kBytes = 128 * kPageSize;
    const long r = raw_syscall(SYS_mmap, 0, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (is_error(r)) return;
    range_ = range_at({static_cast<uint64_t>(r)}, kBytes);
    // Neighbours of different protection are a mapping each.
    complete_ = true;
    for (Address a = range_.begin; complete_ && a < range_.end; a = a + 2 * kPageSize)
      complete_ = !is_error(raw_syscall(SYS_mprotect, as_arg(a.pointer()), kPageSize, PROT_READ));
  }
  ~SpareMaps() {
    if (!range_.empty()) raw_syscall(SYS_munmap, as_arg(range_.begin.pointer()), static_cast<long>(range_.size()));
  }
  SpareMaps(const SpareMaps&) = delete;
  SpareMaps& operator=(const SpareMaps&) = delete;
  bool complete() const { return complete_; }

 private:
  AddressRange range_{};
  bool complete_ = false;
};

// Futexes that other processes use, too.
void wait_for_change(const std::atomic<Freeze>& word, Freeze seen, uint64_t most_ns) {
  const Timespec most = {static_cast<int64_t>(most_ns / 1'000'000'000), static_cast<int64_t>(most_ns % 1'000'000'000)};
  raw_syscall(SYS_futex, as_arg(&word), FUTEX_WAIT, static_cast<long>(seen), as_arg(&most));
}

}  // namespace

void FreezeAgent::announce() {
  page().pager.store(static_cast<int32_t>(raw_syscall(SYS_gettid)));
  page().wake.store(s_.wake.get());
}

void FreezeAgent::answer(Freeze request, Errno error) {
  page().error.store(error.value);
  page().answer.store(request);
  raw_syscall(SYS_futex, as_arg(&page().answer), FUTEX_WAKE, INT_MAX);
}

uint64_t FreezeAgent::step(uint64_t idle_ns) {
  // The thread that forks has the lock, and may touch what is cold: nothing here may wait for it.
  if (s_.park.load() == 2) return idle_ns;
  // It may wait for a layer to be free (round()), and whoever asks for something waits for it.
  if (s_.park.load() == 1 && s_.wants_merging && s_.clock.now_ns() >= merge_at_ns_) merge();
  const Freeze request = page().request.load();
  if (request != Freeze::kNone || asked_) drain_wake();
  asked_ = request != Freeze::kNone;
  if (!asked_) return work_between(idle_ns);
  if (!s_.job.being_frozen()) return forget_request(), idle_ns;
  if (request == page().answer.load()) return idle_ns < kLookNs ? idle_ns : kLookNs;
  switch (request) {
    case Freeze::kClean:
      return clean() ? 0 : idle_ns;
    case Freeze::kShow:
      show();
      return 0;
    case Freeze::kHold:
      if (!s_.fork_lock.try_lock()) return idle_ns < kForkRetryNs ? idle_ns : kForkRetryNs;
      s_.lock.lock();
      hold();
      s_.lock.unlock();
      s_.fork_lock.unlock();
      return 0;
    default:
      drop_buffer();
      answer(request, request == Freeze::kAbort ? Errno{} : Errno{EINVAL});
      return idle_ns;
  }
}

// The tool is gone, and the next one has to find that nothing is asked.
void FreezeAgent::forget_request() {
  page().request.store(Freeze::kNone);
  page().answer.store(Freeze::kNone);
  drop_buffer();
}

bool FreezeAgent::take_buffer() {
  if (buffer_) return true;
  const long r = raw_syscall(SYS_mmap, 0, kExtentSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!is_error(r)) buffer_ = reinterpret_cast<char*>(r);
  return buffer_;
}

void FreezeAgent::drop_buffer() {
  if (buffer_) raw_syscall(SYS_munmap, as_arg(buffer_), kExtentSize);
  buffer_ = nullptr;
  asked_to_clean_ = false;
  s_.pager.set_freezing(false);
}

// What we hold means nothing while the heap is sealed, and a snapshot would store it.
void FreezeAgent::drop_contents() {
  const auto drop = [](AddressRange range) {
    raw_syscall(SYS_madvise, as_arg(range.begin.pointer()), static_cast<long>(range.size()), MADV_DONTNEED);
  };
  drop(range_at({reinterpret_cast<uint64_t>(buffer_)}, kExtentSize));
  drop(s_.pager.scratch());
  s_.table.for_each_empty_part(drop);
}

// The tool writes to the eventfd without a word to us (State::woken).
void FreezeAgent::drain_wake() {
  uint64_t events;
  s_.woken.store(0);
  raw_syscall(SYS_read, s_.wake.get(), as_arg(&events), sizeof events);
}

// Nobody has asked for anything.
uint64_t FreezeAgent::work_between(uint64_t idle_ns) {
  if (s_.wants_merging) {
    const uint64_t now = s_.clock.now_ns();
    if (now >= merge_at_ns_) return merge(), 0;
    if (merge_at_ns_ - now < idle_ns) idle_ns = merge_at_ns_ - now;
  }
  return s_.share.cleans_ahead() ? clean_between(idle_ns) : idle_ns;
}

// A part of the time, so that threads that wait have their turn.
void FreezeAgent::merge() {
  const uint64_t until = s_.clock.now_ns() + kCleanNs;
  s_.merging_fails = !take_buffer();
  if (s_.merging_fails) return void(merge_at_ns_ = until + kMergeFailedNs);
  Locked<FutexLock> locked(s_.lock);
  do {
    if (!s_.pager.merge_step(merge_walk_, buffer_)) continue;
    const Pager::MergeWalk ended = merge_walk_;
    merge_walk_ = {};
    if (ended.layer >= 0 && !ended.left_out) continue;
    s_.merging_fails = ended.layer < 0;
    if (s_.merging_fails) s_.store.keep_no_layer();
    merge_at_ns_ = until + (s_.merging_fails ? kMergeFailedNs : kCleanNs);
    return;
  } while (s_.store.wants_merging() && s_.clock.now_ns() < until && !s_.hooks_waiting.load(std::memory_order_relaxed));
  if (!s_.store.wants_merging() && !s_.share.cleans_ahead() && !asked_to_clean_) drop_buffer();
}

// An extent at a time, no more than half of the time, and not while a thread waits for something.
uint64_t FreezeAgent::clean_between(uint64_t idle_ns) {
  const uint64_t start = s_.clock.now_ns();
  const auto sleep_until_next = [&](uint64_t now) {
    const uint64_t left = next_ns_ > now ? next_ns_ - now : 0;
    return left < idle_ns ? left : idle_ns;
  };
  if (start < next_ns_) return sleep_until_next(start);
  if (!take_buffer()) return next_ns_ = start + kLongestWalkNs, idle_ns;
  walk_.calm_only = true;
  bool over = false, quiet = true;
  {
    Locked<FutexLock> locked(s_.lock);
    const Pages before = walk_.written;
    while ((quiet = s_.pager.quiet()) && !over && walk_.written == before && s_.clock.now_ns() - start < kCleanNs &&
           !s_.hooks_waiting.load(std::memory_order_relaxed))
      over = s_.pager.clean_ahead(walk_, buffer_);
  }
  const uint64_t now = s_.clock.now_ns();
  if (!quiet) {
    next_ns_ = now + kCleanNs;
  } else if (!over) {
    next_ns_ = now + (now - start);
  } else {
    if (walk_.written.count || walk_.brought_home) pause_ns_ = 0;
    pause_ns_ = pause_ns_ * 2 < kWalkNs ? kWalkNs : pause_ns_ * 2 < kLongestWalkNs ? pause_ns_ * 2 : kLongestWalkNs;
    next_ns_ = now + (walk_.error ? kTierFullNs : pause_ns_);
    walk_ = {};
  }
  return sleep_until_next(now);
}

// Under the lock, step by step until one says that all is done (true) or others are to have their turn.
template <class Step>
bool FreezeAgent::for_a_turn(Step step) {
  const uint64_t until = s_.clock.now_ns() + kCleanNs;
  Locked<FutexLock> locked(s_.lock);
  bool over = false;
  do over = step();
  while (!over && s_.clock.now_ns() < until && !s_.hooks_waiting.load(std::memory_order_relaxed));
  return over;
}

// True while there is more to do.
bool FreezeAgent::clean() {
  if (!take_buffer()) return answer(Freeze::kClean, {ENOMEM}), false;
  if (!asked_to_clean_ || cleaned_) {
    asked_to_clean_ = true;
    s_.pager.set_freezing(true);
    cleaned_ = false;
    walk_ = {};
    walks_ = 0;
    gather_next_ = {};
  }
  if (walk_.next == Address{}) {  // what is out of sight comes home to be cleaned
    Locked<FutexLock> locked(s_.lock);
    drain();
  }
  page().todo.store(s_.job.slot().managed.load());
  const bool over = for_a_turn([&] { return s_.pager.clean_ahead(walk_, buffer_); });
  page().done.store(to_bytes(walk_.done).count);
  if (over && !walk_.error && walk_.written > kLittle && ++walks_ < kMostWalks) {
    walk_ = {};  // the program has written meanwhile
    return true;
  }
  if (!over || (!walk_.error && !gather()) || !trim_free_areas()) return true;
  cleaned_ = true;
  if (walk_.error) drop_buffer();
  answer(Freeze::kClean, walk_.error);
  return false;
}

// False while there is more to do.
bool FreezeAgent::gather() {
  return for_a_turn([&] {
    if (gather_next_ == Address{}) most_pieces_ = s_.pager.most_pieces();
    return most_pieces_ >= kPagesPerExtent || s_.pager.gather_step(gather_next_, most_pieces_, buffer_);
  });
}

// False while there is more to do.
bool FreezeAgent::trim_free_areas() {
  constexpr size_t kAtOnce = 8;
  return for_a_turn([&] { return s_.store.trim_free_areas(kAtOnce); });
}

// The tool copies, while the program runs, what would be copied in the stop otherwise.
void FreezeAgent::show() {
  Locked<FutexLock> locked(s_.lock);
  const unsigned number = page().layer.load();
  if (number == 0 && s_.store.would_be_copied(s_.job.control().freeze_folder) && !s_.store.crowded()) {
    drain();
    s_.store.trim_unused();
    s_.store.seal();
  }
  const int fd = s_.store.sealed_file(number);
  page().layer_name.store(fd >= 0 ? s_.store.future_name(fd) : 0);
  page().layer_fd.store(fd);
  answer(Freeze::kShow, {});
}

// Under both locks from here on.
void FreezeAgent::hold() {
  if (!asked_to_clean_) return answer(Freeze::kHold, {EINVAL});
  answer(Freeze::kHold, {});
  uint64_t looked = s_.clock.now_ns();
  bool over = false, tried = false;
  while (!over) {
    const Freeze request = page().request.load();
    if (request == Freeze::kSeal && !tried) {
      tried = true;
      over = seal();
    } else if (request == Freeze::kAbort) {
      answer(Freeze::kAbort, {});
      over = true;
    } else if (s_.clock.now_ns() - looked > kLookNs) {
      looked = s_.clock.now_ns();
      over = !s_.job.being_frozen();
      if (over) forget_request();
    }
    if (over) break;
    // Threads wait for their pages in system calls, where nobody can stop them.
    s_.pager.step();
    const uint64_t idle = s_.pager.idle_ns();
    s_.ring.wait(s_.pages.fault_fd(), s_.wake.get(), idle < kLookNs ? idle : kLookNs);
    drain_wake();
  }
  drop_buffer();
}

// True when it is over, one way or another; false when nothing has changed and the tool will say what comes next.
bool FreezeAgent::seal() {
  Errno failed = write_all();
  if (!failed) {
    s_.store.trim_unused();
    s_.store.seal();
    failed = s_.store.name_files(s_.job.control().freeze_folder);
  }
  std::optional<SpareMaps> spare;
  if (!failed && !spare.emplace().complete()) failed = {ENOMEM};
  if (failed) return answer(Freeze::kSeal, failed), false;
  failed = map_files();
  spare.reset();
  close_all();
  if (failed) resume();  // the threads are stopped still
  answer(Freeze::kSeal, failed);
  if (failed) return false;
  wait_sealed();
  return true;
}

// Until nothing is under way.
void FreezeAgent::drain() {
  s_.pager.set_draining(true);
  for (s_.pager.step(); !s_.pager.drained(); s_.pager.step())
    s_.ring.wait(s_.pages.fault_fd(), s_.wake.get(), kForkRetryNs);
  s_.pager.set_draining(false);
}

Errno FreezeAgent::write_all() {
  unsigned tries = 0;
  do {
    while (s_.pager.want_kept()) {
      s_.pager.step();
      s_.ring.wait(s_.pages.fault_fd(), s_.wake.get(), s_.pager.idle_ns());
    }
    drain();
    // What was read ahead, and has to be at home, is cold again when all is drained.
  } while (s_.pager.want_kept() && ++tries < kMostDrains);
  return s_.pager.store_all(buffer_);
}

Errno FreezeAgent::map_files() {
  s_.store.close_files();
  Errno failed = s_.store.open_files(s_.job.control().freeze_folder, true);
  if (!failed) failed = s_.pager.map_store();
  s_.store.close_files();
  return failed;
}

// Everything that CRIU cannot store, or would store in vain.
void FreezeAgent::close_all() {
  s_.pager.disarm_rest();
  (void)s_.pages.disarm(s_.slots);
  s_.ring.close();  // before what it watches
  s_.pages.close();
  page().wake.store(-1);
  s_.wake.reset();
}

void FreezeAgent::wait_sealed() {
  for (;;) {
    const Freeze request = page().request.load();
    if (request == Freeze::kFree && page().answer.load() != Freeze::kFree) {
      s_.pager.free_replaced();
      drop_contents();
      answer(Freeze::kFree, {});
    }
    if (request == Freeze::kResume) {
      s_.pager.free_replaced();  // or it would be counted twice
      resume();
      return answer(Freeze::kResume, {});
    }
    if (!s_.job.being_frozen()) {
      log_line(LogLevel::kWarning,
               "the snapshot was given up by its tool: what is in memory now stays outside of the budget");
      s_.pager.free_replaced();
      s_.pager.let_all_go();
      open_again();
      return forget_request();
    }
    wait_for_change(page().request, request, kLookNs);
  }
}

void FreezeAgent::resume() {
  s_.job.keep_lock();
  Errno failed = s_.store.open_files(s_.job.control().freeze_folder, false);
  if (!failed) {
    open_again();
    failed = s_.pager.take_back(buffer_);
  }
  if (failed) {
    // Its pages cannot be brought back: better an end with a reason than a wrong byte.
    log_line(LogLevel::kError, "cannot go on from the snapshot's files in ", s_.job.control().freeze_folder, " (",
             errno_name(failed.value), "); the process ends here");
    raw_syscall(SYS_exit_group, 125);
  }
  walk_ = {};
  next_ns_ = pause_ns_ = 0;  // what comes back is not clean yet
  if (page().prefetch.load()) s_.pager.begin_prefetch();
}

// What the pager works with; without it the process cannot go on.
void FreezeAgent::open_again() {
  Errno failed = reopen_pager(s_);
  if (!failed) failed = open_wake(s_);
  if (!failed) failed = s_.ring.open().error();
  if (failed) {
    log_line(LogLevel::kError, "cannot begin paging again (", errno_name(failed.value),
             "); the process ends here. See `ebb doctor`: userfaultfd, io_uring, limits on descriptors and memory");
    raw_syscall(SYS_exit_group, 125);
  }
  announce();
}

}  // namespace ebb
