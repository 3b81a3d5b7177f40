// Tests of base/lock.h and os/thread.h: mutual exclusion, sleepers woken, fork children, signals held back, and threads
// that libc does not know.
#include "base/lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <string_view>
#include <thread>
#include <vector>

#include "base/syscall.h"
#include "os/thread.h"

namespace ebb {
namespace {

TEST(FutexLock, ExcludesAndWakes) {
  FutexLock lock;
  uint64_t count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        Locked held(lock);
        ++count;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(count, 80000u);
  EXPECT_FALSE(lock.contended());
}

TEST(FutexLock, TryLockNeverWaits) {
  FutexLock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(FutexLock, AForkChildGoesOnWithAHeldLock) {
  FutexLock lock;
  lock.lock();
  const pid_t child = fork();
  if (child == 0) {
    lock.reset_held_by_caller();
    lock.unlock();
    _exit(lock.try_lock() ? 0 : 1);
  }
  lock.unlock();
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(SignalsBlocked, HoldsBackAndRestores) {
  static std::atomic<int> seen{0};
  struct sigaction old, counting = {};
  counting.sa_handler = [](int) { ++seen; };
  sigaction(SIGUSR1, &counting, &old);
  {
    SignalsBlocked blocked;
    raise(SIGUSR1);
    EXPECT_EQ(seen, 0);
  }
  EXPECT_EQ(seen, 1);
  raise(SIGUSR1);
  EXPECT_EQ(seen, 2);
  sigaction(SIGUSR1, &old, nullptr);
}

// Such a thread never ends, so it lives in a process of its own here.
TEST(ThreadDeathTest, RunsWithAllSignalsBlockedAndItsName) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer knows nothing of a thread that libc does not know";
#endif
  static std::atomic<uint32_t> done{0};
  static uint64_t mask = 0;
  static char name[16] = {};
  const auto run = [] {
    const auto started = start_thread(
        "ebb-test",
        [](void* argument) {
          raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, as_arg(&mask), sizeof mask);
          raw_syscall(SYS_prctl, 16 /* PR_GET_NAME */, as_arg(name));
          static_cast<std::atomic<uint32_t>*>(argument)->store(1);
          futex_wake(done, 1);
          for (;;) raw_syscall(SYS_pause);
        },
        &done);
    if (!started.ok()) _exit(9);
    while (done == 0) futex_wait(done, 0);
    const uint64_t unblockable = (uint64_t{1} << (SIGKILL - 1)) | (uint64_t{1} << (SIGSTOP - 1));
    _exit((mask | unblockable) == ~uint64_t{0} && std::string_view(name) == "ebb-test" ? 0 : 1);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ebb
