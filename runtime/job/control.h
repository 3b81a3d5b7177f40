// The control page of a job: one shared memory file that all processes of a job map, with the budget, what each process
// holds of it, and counters for the report.
//
// The file is a memfd held by `ebb run` (or by the job's first process when the library was preloaded by hand); others
// open it as /proc/PID/fd/N, named in the environment variable EBB_JOB. Nothing is left when its holders are gone.
//
// Plain atomics, no locks: a process may be killed at any instruction. A slot's owner holds an fcntl() lock on the byte
// at `slot index` of the file; the kernel drops it at death and at exec, so a slot without a lock is free for the next.
// A snapshot does not keep these locks: see `locks_lost`.
#pragma once

#include <fcntl.h>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ebb {

inline constexpr uint64_t kControlMagic = 0x31304c5254434245;  // "EBCTRL01"
inline constexpr uint32_t kControlVersion = 7;
inline constexpr unsigned kJobSlots = 256;
inline constexpr unsigned kJobMessages = 8;
inline constexpr char kJobVariable[] = "EBB_JOB";

using Counter = std::atomic<uint64_t>;

// What one process of the job holds. Written by its owner; read by everyone.
struct alignas(64) JobSlot {
  std::atomic<int32_t> pid{0};
  std::atomic<uint32_t> paged{0};  // 0 free-run, 1 paged
  Counter charged{};               // bytes of DRAM counted against the budget
  Counter managed{};               // bytes of managed ranges, resident or not
  Counter stored{};                // bytes that are in the store only
  Counter own_bytes{};             // the runtime's own memory
  Counter lent{};                  // of `charged`, bytes that processes made by fork may still share
  Counter borrowed{};              // bytes in DRAM that are charged to the process they are shared with, not here
};

// Sums over the life of the job. Written by all processes with relaxed adds.
struct JobCounters {
  Counter evicted_bytes{};   // left DRAM, written or dropped
  Counter written_bytes{};   // written to the store
  Counter cleaned_bytes{};   // of these, ahead of a snapshot: they did not leave DRAM
  Counter loaded_bytes{};    // brought back from the store
  Counter returned_bytes{};  // brought back from limbo
  Counter zero_bytes{};      // granted as zeros
  Counter faults{};          // touches that the pager answered
  Counter stall_ns{};        // time from a fault read by the pager to its answer, summed
  Counter pager_cpu_ns{};    // processor time of the pager threads
  Counter read_errors{}, write_errors{}, bad_pages{};
  Counter over_budget_bytes{};  // the most that had to be kept over the budget (store full or failing)
  Counter processes{};          // that took a slot
  Counter paged_processes{};    // that left free-run
};

// What a snapshot asks of the pager of a process, step by step; each includes the ones before it.
enum class Freeze : uint32_t {
  kNone = 0,
  kClean,  // write ahead, while the program runs, what the store lacks
  kShow,   // tell which file the sealed layer number `layer` of the store has; with 0, and where that could only be
           // copied to `freeze_folder`, seal first what there is
  kHold,   // no fork and no mapping call from here on; faults are answered still
  kSeal,  // with all other threads stopped: write the rest, seal the store, name its files in `freeze_folder`, map them
          // privately where the pages were, close everything that no CRIU can store
  kFree,  // free what was in DRAM there, while the program runs
  kResume,  // with all other threads stopped: take the store's files from `freeze_folder`, and go on
  kAbort,   // of kClean, kShow and kHold: go on as if nothing had been
};

// One for each slot, beside it. `request` is written by the snapshot tool, which then writes to the eventfd `wake` of
// the process (not while it is sealed); `answer` by the process, with `error`. Both are futexes that processes share.
struct JobFreeze {
  std::atomic<Freeze> request{Freeze::kNone};
  std::atomic<Freeze> answer{Freeze::kNone};  // the request that was answered last
  std::atomic<int32_t> error{0};              // 0: it was done; else an errno, and nothing has changed
  std::atomic<int32_t> pager{0};              // thread of the pager, in its own PID namespace
  std::atomic<int32_t> wake{-1};              // descriptor of the eventfd; -1 while sealed
  std::atomic<uint32_t> prefetch{0};          // of kResume: not 0 to bring back what was in DRAM, ahead of need
  std::atomic<uint32_t> layer{0};             // of kShow: 0, 1, ...
  std::atomic<int32_t> layer_fd{-1};          // its answer: a descriptor; -1 when there are no more
  Counter layer_name{};                       // and the number that is the file's name in a snapshot
  Counter done{}, todo{};                     // bytes of the step under way, for people
};

// The byte of the control page's file that the tool keeps locked (fcntl) while it freezes or restores the job. A
// process that waits for a tool whose lock is gone goes on by itself.
inline constexpr uint64_t kFreezerByte = uint64_t{1} << 20;

// For fcntl(2): of one byte of the control page's file.
inline struct ::flock byte_lock(uint64_t byte, short type) {
  struct ::flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

struct JobMessage {
  std::atomic<uint32_t> ready{0};
  char text[252] = {};
};

struct JobControl {
  uint64_t magic = 0;
  uint32_t version = 0;
  uint32_t size = 0;
  Counter budget{};   // bytes; may be changed while the job runs
  Counter charged{};  // bytes, sum over slots
  Counter peak_charged{};
  Counter managed{};  // bytes, sum over slots
  Counter peak_managed{};
  Counter stored{};     // bytes in the store only, sum over slots
  Counter peak_need{};  // the most of charged + stored at one time: what the job would have needed in DRAM
  Counter peak_own_bytes{};
  Counter pressure{};  // bytes that a process waits for and cannot free itself: what it holds it shares with others
  Counter store_bytes{}, peak_store_bytes{};
  JobCounters counters{};
  std::atomic<uint32_t> messages{0};  // how many were ever posted
  JobMessage message[kJobMessages] = {};
  JobSlot slot[kJobSlots] = {};
  // Bytes of `charged` whose process gave them up while others may have them still (see pager/shared.cc).
  Counter orphaned{};
  // Forks whose child has, or has not yet, said what it borrows, of this span of time and of the one before (see
  // pager/fork_count.h).
  Counter forks[2] = {};
  // When some process last looked for dead ones; when `pressure` was last asked for, and by whom.
  Counter reclaimed_ns{}, pressed_ns{}, presser{};
  // Absolute path of the folder in which the snapshot's heap files are, or are to be; ends with 0.
  char freeze_folder[1024] = {};
  JobFreeze freeze[kJobSlots] = {};
  // Not 0: the job was restored from a snapshot, and locks of slots are missing whose processes live.
  Counter locks_lost{};
  // Not 0: what the job changes is written to the store in the background, so that a snapshot has little left to write.
  Counter clean_ahead{};

  // Leaves a line for the report; the oldest one gives way when there are too many.
  void post(std::string_view text) {
    JobMessage& m = message[messages.fetch_add(1, std::memory_order_relaxed) % kJobMessages];
    m.ready.store(0, std::memory_order_relaxed);
    const size_t n = text.size() < sizeof m.text - 1 ? text.size() : sizeof m.text - 1;
    __builtin_memcpy(m.text, text.data(), n);
    m.text[n] = 0;
    m.ready.store(1, std::memory_order_release);
  }
};

static_assert(sizeof(JobControl) < 64 * 1024);

}  // namespace ebb
