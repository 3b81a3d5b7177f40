// State: everything the runtime holds in this process, in one place and constant-initialised: usable before
// constructors have run, never destroyed. Shared by the parts of the engine; nobody else includes this.
//
// Lock order: fork_lock, then lock. A holder of `lock` has all signals blocked and touches no managed memory.
#pragma once

#include <type_traits>

#include "base/lock.h"
#include "job/engine.h"
#include "job/job.h"
#include "os/clock.h"
#include "os/linux_pages.h"
#include "os/tier_files.h"
#include "os/uring_queue.h"
#include "pager/pager.h"

namespace ebb {

class MonotonicClock final : public Clock {
 public:
  uint64_t now_ns() override { return clock_ns(); }
};

enum class Mode : int {
  kOff,      // nothing asked of us, or nothing that we could do
  kFreeRun,  // the kernel answers all faults; ranges are only counted
  kPaged,
};

struct State {
  FutexLock lock;
  FutexLock fork_lock;
  std::atomic<uint32_t> hooks_waiting{0};

  std::atomic<Mode> mode{Mode::kOff};
  Bytes budget{};
  bool whole_job = false;    // a control page of `ebb run`, not one of our own
  bool clean_ahead = false;  // for a page of our own: JobControl::clean_ahead
  char job_path[64] = {};
  char slow[4096] = {};

  Arena arena;
  Job job;
  Budget share;
  ExtentTable table{arena};
  LinuxTierFiles files;
  std::atomic<bool> copy_looked_for{false};  // what files.copy_out() is to use: engine::load_tier_copy()
  Store store{arena, files};
  LinuxPages pages;
  UringQueue ring;
  MonotonicClock clock;
  Pager pager{arena, table, store, share, pages, clock};

  AddressRange slots{};
  bool paging_failed = false;  // said once; the process stays in free-run
  bool pin_future = false;     // mlockall(MCL_FUTURE)

  // The pager's thread. `round` counts its rounds, for hooks that wait for transfers to end.
  LastingFd wake;
  std::atomic<uint32_t> woken{0};  // something was written to `wake`
  std::atomic<uint32_t> round{0};
  std::atomic<uint32_t> settling{0};  // hooks that wait for `round`
  std::atomic<uint32_t> park{0};      // 0 run, 1 asked to park, 2 parked
  std::atomic<uint32_t> forker{0};    // thread that forks; parked, the pager answers its faults only
  bool wants_merging = false;         // the store does; of the last round, for the pager's thread
  bool merging_fails = false;         // nothing can be merged now: a fork need not wait for it
  uint64_t store_bytes_seen = 0;      // what the job's sum has of our store
  std::atomic<uint32_t> opened{0};    // 0 starting, 1 running, else errno + 1
};

static_assert(std::is_trivially_destructible_v<State>, "nothing of ours may end before the program does");

State& state();

// Keeps the caller's stack, and its thread's own data, where they are, should they lie in managed memory (a
// coroutine's, or one given to pthread_create): a holder of the state lock that faults on its own stack would wait for
// the pager, which waits for the lock. Taken before the lock.
class StackHold {
 public:
  void hold();
  void release();
  // In a fork child: Pager::recount() has ended all holds.
  void forget() { *this = {}; }

 private:
  static constexpr unsigned kMost = 4;
  bool hold(AddressRange range);
  static bool touch(Address page);
  Extent* extents_[kMost] = {};
};

// The state lock with signals blocked and the stack held, in turn with the pager's thread.
class HookScope {
 public:
  HookScope();
  ~HookScope();

 private:
  SignalsBlocked signals_;
  StackHold stack_;
};

// Before `more` bytes become managed: begins paging if the job outgrows its budget by them. Under the lock.
void page_if_needed(State& s, uint64_t more);

// Begins paging in this process: userfaultfd, slots, store, thread. Under the lock. False (with a warning, once) when
// something that it needs is missing.
bool start_paging(State& s);
// Starts the thread on what start_paging or a fork child prepared, and waits until it runs.
Errno start_pager_thread(State& s);
// What start_paging opened of userfaultfd, slots and pager, once more and in the same place: in a fork child, or after
// a snapshot.
Errno reopen_pager(State& s);
// Opens the eventfd that wakes the thread.
Errno open_wake(State& s);
// Lets the thread do a round now.
void wake_pager(State& s);
// Waits until no transfer is under way in `range` and returns with it so, under the lock that the caller holds.
void settle(State& s, AddressRange range);
// Makes every page of `range` resident and keeps it so (pinned). Drops and takes the lock that the caller holds; no
// transfer is under way in `range` when it returns.
void bring_in(State& s, AddressRange range);
// Ends the management of `range`; its contents stay, resident. Drops and takes the lock that the caller holds.
void let_go(State& s, AddressRange range);
// Maps the slots. ENOMEM when there is no room for at least a few.
Errno map_slots(State& s);

}  // namespace ebb
