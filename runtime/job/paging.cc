// Paging: from free-run to paged, and the pager's thread. Rules: raw system calls only; the thread takes the state lock
// for a round and never waits with it held.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <bit>
#include <cerrno>

#include "base/log.h"
#include "job/freeze.h"
#include "job/state.h"
#include "os/clock.h"
#include "os/thread.h"
#include "os/uffd_abi.h"

namespace ebb {
namespace {

constexpr uint64_t kParkRetryNs = 100'000;
constexpr uint64_t kParkedNs = 1'000'000'000;
constexpr uint64_t kReclaimNs = 10'000'000;
constexpr uint64_t kFewestSlots = 16;

bool give_up(State& s, const char* what, Errno why, const char* mend) {
  s.paging_failed = true;
  log_line(LogLevel::kWarning, what, " (", errno_name(why.value), "): this process runs without tiering. ", mend);
  return false;
}

// Lets hooks that wait for the lock have it: the thread would take it again before they wake.
void yield_to_hooks(State& s) {
  for (int i = 0; i < 64 && s.hooks_waiting.load(std::memory_order_relaxed); ++i) raw_syscall(SYS_sched_yield);
}

// Processes of the job that were killed gave nothing back. Looked for when room is short, now and then.
void reclaim_dead(State& s) {
  if (!s.pager.short_of_room()) return;
  const uint64_t now = s.clock.now_ns();
  uint64_t last = s.job.control().reclaimed_ns.load();  // by whichever process of the job
  if (now - last < kReclaimNs || !s.job.control().reclaimed_ns.compare_exchange_strong(last, now)) return;
  (void)s.job.reclaim_dead();
  s.share.settle_orphans(now);
}

struct CpuCount {
  uint64_t cpu_ns = 0;  // processor time that the job's counters have
  uint64_t at_ns = 0;   // when it was looked at
};

// Now and then: the clock of a thread is a system call.
void count_cpu(State& s, CpuCount& count) {
  constexpr uint64_t kEveryNs = 1'000'000;
  if (s.pager.now_ns() - count.at_ns < kEveryNs) return;
  count.at_ns = s.pager.now_ns();
  const uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  if (cpu < count.cpu_ns) count.cpu_ns = 0;  // restored from a snapshot: the clock began anew
  s.share.counters().pager_cpu_ns.fetch_add(cpu - count.cpu_ns, std::memory_order_relaxed);
  count.cpu_ns = cpu;
}

// One round under the lock. Returns how long to sleep.
uint64_t round(State& s, CpuCount& count) {
  Locked<FutexLock> locked(s.lock);
  const bool parking = s.park.load() == 1;
  if (s.share.shared() || s.share.has_orphans()) reclaim_dead(s);
  // A fork child holds what its parent holds: room for that is made first.
  if (parking) s.pager.shrink_for_fork();
  s.pager.set_draining(parking);
  s.pager.step();
  count_cpu(s, count);
  const uint64_t stored = s.store.size().count;
  if (stored != s.store_bytes_seen) {
    const uint64_t more = stored - s.store_bytes_seen;  // or less: the sum wraps
    JobControl& control = s.job.control();
    Budget::raise(control.peak_store_bytes, control.store_bytes.fetch_add(more) + more);
    s.store_bytes_seen = stored;
  }
  const Bytes own = s.pager.own_bytes();
  s.job.slot().own_bytes.store(own.count, std::memory_order_relaxed);
  Budget::raise(s.job.control().peak_own_bytes, own.count);
  s.round.fetch_add(1);
  if (s.settling.load()) futex_wake(s.round, INT_MAX);
  s.wants_merging = s.store.wants_merging();
  if (!parking) return s.pager.idle_ns();
  // The fork takes another layer, and so may the next ones soon.
  const bool no_layer = s.store.nearly_crowded() && !s.merging_fails;
  if (!s.pager.drained() || no_layer) return no_layer ? 0 : kParkRetryNs;
  s.park.store(2);
  futex_wake(s.park, INT_MAX);
  return 0;
}

void sleep(State& s, uint64_t idle_ns) {
  s.ring.wait(s.pages.fault_fd(), s.wake.get(), idle_ns);
  if (!s.woken.exchange(0)) return;
  uint64_t events;
  raw_syscall(SYS_read, s.wake.get(), as_arg(&events), sizeof events);
}

void pager_main(void* argument) {
  State& s = *static_cast<State*>(argument);
  const auto opened = s.ring.open();
  s.opened.store(opened.ok() ? 1 : static_cast<uint32_t>(opened.error().value) + 1);
  futex_wake(s.opened, INT_MAX);
  if (!opened.ok()) return;
  CpuCount count;
  count.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  FreezeAgent freeze(s);
  freeze.announce();
  for (;;) {
    const uint64_t idle = freeze.step(round(s, count));
    while (s.park.load() == 2) {
      s.pager.answer_parked(s.forker.load());
      sleep(s, kParkedNs);
    }
    yield_to_hooks(s);
    sleep(s, idle);
  }
}

// Under a limit on address space (ulimit -v) the program may use it up: our records of all that it can hold are set
// aside before.
void reserve_records(State& s) {
  constexpr uint64_t kRecordsOfExtent =
      sizeof(Extent) + sizeof(RareSets) + kPagesPerExtent * sizeof(PageHash) + 4 * std::bit_ceil(sizeof(StoreEntry));
  rlimit limit = {};
  if (is_error(raw_syscall(SYS_getrlimit, RLIMIT_AS, as_arg(&limit))) || limit.rlim_cur == RLIM_INFINITY) return;
  const uint64_t bytes = limit.rlim_cur / kExtentSize * 3 / 2 * kRecordsOfExtent + (uint64_t{1} << 20);
  (void)s.arena.reserve(bytes < (uint64_t{64} << 20) ? bytes : uint64_t{64} << 20);
}

}  // namespace

void wake_pager(State& s) {
  const uint64_t one = 1;
  raw_syscall(SYS_write, s.wake.get(), as_arg(&one), sizeof one);
  s.woken.store(1);  // after it: what is set is there to be read
}

Errno map_slots(State& s) {
  uint64_t count = s.share.limit().count >> 20;
  count = count < 128 ? 128 : count > 8192 ? 8192 : count;
  if (!s.slots.empty()) count = s.slots.size() >> kExtentShift;  // a fork child: as many as before, in the same place
  for (; count >= kFewestSlots; count /= 2) {
    const uint64_t bytes = count << kExtentShift;
    long r;
    if (!s.slots.empty()) {
      r = raw_syscall(SYS_mmap, as_arg(s.slots.begin.pointer()), static_cast<long>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
      if (is_error(r)) return {ENOMEM};
    } else {
      const uint64_t more = bytes + kExtentSize;
      r = raw_syscall(SYS_mmap, 0, static_cast<long>(more), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (is_error(r)) continue;
      const uint64_t at = align_up(static_cast<uint64_t>(r), kExtentSize), end = static_cast<uint64_t>(r) + more;
      if (at > static_cast<uint64_t>(r)) raw_syscall(SYS_munmap, r, static_cast<long>(at) - r);
      if (end > at + bytes) raw_syscall(SYS_munmap, static_cast<long>(at + bytes), static_cast<long>(end - at - bytes));
      s.slots = range_at({at}, bytes);
    }
    // Single pages come and go in the first slots, whole extents in the last.
    raw_syscall(SYS_madvise, as_arg(s.slots.begin.pointer()), static_cast<long>(bytes), MADV_NOHUGEPAGE);
    raw_syscall(SYS_madvise, as_arg(s.slots.begin.pointer()), static_cast<long>(bytes), MADV_DONTFORK);
    const uint64_t huge = uint64_t{SlotPool::huge_slots(static_cast<uint32_t>(count))} << kExtentShift;
    raw_syscall(SYS_madvise, as_arg((s.slots.end - huge).pointer()), static_cast<long>(huge), MADV_HUGEPAGE);
    return {};
  }
  return {ENOMEM};
}

void engine::load_tier_copy() {
  State& s = state();
  if (!enabled() || s.copy_looked_for.exchange(true)) return;
  LinuxTierFiles tier;  // start_paging opens the lasting one, under the lock
  if (!tier.open(s.slow) && tier.byte_addressable()) s.files.use_copy(load_pmem_copy(tier.dax()));
}

Errno reopen_pager(State& s) {
  const auto opened = s.pages.open();
  Errno failed = opened.ok() ? map_slots(s) : opened.error();
  if (!failed) failed = s.pages.arm_limbo(s.slots).error();
  if (!failed) failed = s.pager.open(s.slots, s.store.byte_addressable() ? nullptr : &s.ring).error();
  return failed;
}

Errno open_wake(State& s) {
  const long event = raw_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (is_error(event)) return {static_cast<int>(-event)};
  const auto safe = protect_fd(static_cast<int>(event));
  if (!safe.ok()) return safe.error();
  s.wake.reset(safe.value());
  return {};
}

Errno start_pager_thread(State& s) {
  if (const Errno failed = open_wake(s)) return failed;
  s.park.store(0);
  s.opened.store(0);
  const auto started = start_thread("ebb-pager", pager_main, &s);
  if (!started.ok()) return started.error();
  while (s.opened.load() == 0) futex_wait(s.opened, 0);
  return {static_cast<int>(s.opened.load()) - 1};
}

bool start_paging(State& s) {
  if (s.paging_failed) return false;
  clock_open();
  if (const auto r = s.pages.open(); !r.ok())
    return give_up(s, "no userfaultfd for kernel-mode faults", r.error(),
                   "It takes Linux 6.8 and access to /dev/userfaultfd, CAP_SYS_PTRACE or root: see `ebb doctor`");
  if (const Errno e = s.files.open(s.slow)) return give_up(s, "cannot use the slow tier", e, s.slow);
  reserve_records(s);
  uint64_t seed = 0;
  if (raw_syscall(SYS_getrandom, as_arg(&seed), sizeof seed, 0) != sizeof seed) seed = s.clock.now_ns();
  s.store.set_seed(seed);
  s.store.set_byte_addressable(s.files.byte_addressable());
  if (const auto probe = s.files.create(); probe.ok())
    s.files.close(probe.value());
  else
    return give_up(s, "cannot create a file on the slow tier", probe.error(), s.slow);
  if (const Errno e = map_slots(s)) return give_up(s, "no address space for the pager", e, "See `ulimit -v`");
  if (const auto r = s.pages.arm_limbo(s.slots); !r.ok())
    return give_up(s, "the kernel does not move pages", r.error(), "See `ebb doctor`");
  // Opened before the thread starts: its first round finds everything in place (the caller holds the lock).
  if (const auto r = s.pager.open(s.slots, s.store.byte_addressable() ? nullptr : &s.ring); !r.ok())
    return give_up(s, "no memory for the pager", r.error(), "");
  if (const Errno e = start_pager_thread(s)) {
    s.pager.abandon();
    return give_up(s, "cannot start the pager", e, "See `ebb doctor`: io_uring, threads");
  }
  s.mode.store(Mode::kPaged);
  s.job.slot().paged.store(1);
  s.share.counters().paged_processes.fetch_add(1);
  log_line(LogLevel::kInfo, "paging begins: ", s.share.managed(), " managed, budget ", s.share.limit(), ", slow tier ",
           s.files.directory());
  return true;
}

}  // namespace ebb
