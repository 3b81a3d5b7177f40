// Locks that survive a preloaded life: a futex mutex that can be re-initialised in a fork child, and a scope that
// blocks every signal so that no handler of the program runs while one of our locks is held.
//
// Rules: no libc; no allocation; a holder never touches managed memory (its fault would wait for the pager, which may
// be waiting for the lock); see docs/invariants.md.
#pragma once

#include <linux/futex.h>
#include <atomic>
#include <climits>
#include <cstdint>

#include "base/syscall.h"

namespace ebb {

inline void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, const void* timeout = nullptr) {
  raw_syscall(SYS_futex, as_arg(&word), FUTEX_WAIT, expected, as_arg(timeout));
}
inline void futex_wake(const std::atomic<uint32_t>& word, int count) {
  raw_syscall(SYS_futex, as_arg(&word), FUTEX_WAKE, count);
}

// A mutex on one futex word (0 free, 1 held, 2 held with waiters), after U. Drepper, "Futexes are tricky", 2011.
class FutexLock {
 public:
  constexpr FutexLock() = default;
  FutexLock(const FutexLock&) = delete;
  FutexLock& operator=(const FutexLock&) = delete;

  void lock() {
    uint32_t seen = 0;
    if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire)) return;
    for (int spin = 0; spin < kSpins; ++spin) {
      __builtin_ia32_pause();
      seen = 0;
      if (word_.load(std::memory_order_relaxed) == 0 &&
          word_.compare_exchange_strong(seen, 1, std::memory_order_acquire))
        return;
    }
    while (word_.exchange(2, std::memory_order_acquire) != 0) futex_wait(word_, 2);
  }
  bool try_lock() {
    uint32_t seen = 0;
    return word_.compare_exchange_strong(seen, 1, std::memory_order_acquire);
  }
  void unlock() {
    if (word_.exchange(0, std::memory_order_release) == 2) futex_wake(word_, 1);
  }
  bool contended() const { return word_.load(std::memory_order_relaxed) == 2; }
  // In a fork child, by the thread that holds the lock since before the fork: there are no other threads.
  void reset_held_by_caller() { word_.store(1, std::memory_order_relaxed); }
  // In a fork child, of a lock that only threads that are not there can hold. Writes only if one does.
  void reset_in_child() {
    if (word_.load(std::memory_order_relaxed) != 0) word_.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr int kSpins = 200;
  std::atomic<uint32_t> word_{0};
};

// Blocks all signals of the calling thread for its lifetime. Synchronous ones (a SIGSEGV that we cause) still kill.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    const uint64_t all = ~uint64_t{0};
    raw_syscall(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, as_arg(&all), as_arg(&saved_), sizeof saved_);
  }
  ~SignalsBlocked() { raw_syscall(SYS_rt_sigprocmask, 2, as_arg(&saved_), 0, sizeof saved_); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  uint64_t saved_ = 0;
};

template <class Lock>
class [[nodiscard]] Locked {
 public:
  explicit Locked(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~Locked() { lock_.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Lock& lock_;
};

}  // namespace ebb
