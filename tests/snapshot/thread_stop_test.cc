// Threads that are made to stand still, and go on.
#include "snapshot/thread_stop.h"

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "snapshot/fd.h"
#include "snapshot/process_tree.h"

namespace ebb::snapshot {
namespace {

constexpr unsigned kThreads = 50;
constexpr int kNoRing = -1;

// What the program under test shares with the test.
struct Shared {
  std::array<std::atomic<uint64_t>, kThreads> ticks;
  std::atomic<pid_t> free_thread;  // of these, the last one is to go on
  std::atomic<unsigned> ready;
  std::atomic<int> signals, continued;
  std::atomic<bool> end_some;
  char text[16];               // what the reader read
  std::atomic<int> from_ring;  // what the kernel's own thread read for the one that is to go on; kNoRing: none does
};

class ThreadStopTest : public testing::Test {
 protected:
  void SetUp() override {
    void* const at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    shared_ = new (at) Shared{};
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    reading_.reset(ends[0]);
    writing_.reset(ends[1]);
    ASSERT_EQ(pipe(ends), 0);
    ring_reading_.reset(ends[0]);
    ring_writing_.reset(ends[1]);
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) program();
    while (shared_->ready < kThreads + 1) std::this_thread::yield();
  }
  void TearDown() override {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    munmap(shared_, sizeof(Shared));
  }

  uint64_t ticks(unsigned first, unsigned last) const {
    uint64_t sum = 0;
    for (unsigned i = first; i < last; ++i) sum += shared_->ticks[i];
    return sum;
  }
  // Waits for these threads to have gone on.
  void await_ticks(unsigned first, unsigned last) const {
    for (unsigned i = first; i < last; ++i)
      for (const uint64_t seen = shared_->ticks[i]; shared_->ticks[i] == seen;) std::this_thread::yield();
  }

  Shared* shared_ = nullptr;
  Fd reading_, writing_, ring_reading_, ring_writing_;
  pid_t child_ = -1;

 private:
  // A thread of the kernel's own waits for it.
  void read_by_ring() {
    static io_uring ring;
    if (io_uring_queue_init(4, &ring, 0) != 0) {
      shared_->from_ring = kNoRing;
      return;
    }
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
    io_uring_prep_read(sqe, ring_reading_.get(), &shared_->from_ring, sizeof(shared_->from_ring), 0);
    sqe->flags |= IOSQE_ASYNC;
    io_uring_submit(&ring);
  }
  [[noreturn]] void program() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static Shared* shared;
    shared = shared_;
    // Without SA_RESTART: a read that a handler interrupts would be seen.
    struct sigaction action = {};
    action.sa_handler = [](int signal) { ++(signal == SIGCONT ? shared->continued : shared->signals); };
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGCONT, &action, nullptr);
    std::thread([this] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, nullptr);
      ++shared_->ready;
      char text[sizeof(shared_->text)] = {};
      if (read(reading_.get(), text, sizeof(text) - 1) < 0) std::strcpy(text, strerrorname_np(errno));
      std::memcpy(shared_->text, text, sizeof(text));
      ++shared_->ready;
      pause();
    }).detach();
    for (unsigned i = 0; i < kThreads; ++i)
      std::thread([this, i] {
        if (i == kThreads - 1) {
          shared_->free_thread = gettid();
          read_by_ring();
        }
        ++shared_->ready;
        while (i % 5 != 0 || !shared_->end_some) {
          ++shared_->ticks[i];
          std::this_thread::yield();
        }
      }).detach();
    for (;;) pause();
  }
};

TEST_F(ThreadStopTest, AllStandStillButOne) {
  ThreadStop stop;
  stop.stop(child_, shared_->free_thread);
  const uint64_t before = ticks(0, kThreads - 1);
  await_ticks(kThreads - 1, kThreads);
  EXPECT_EQ(ticks(0, kThreads - 1), before);
  stop.let_all_go();
  await_ticks(0, kThreads);
}

bool has_io_worker(pid_t process) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task"))
    if (process_name(std::stoi(entry.path().filename())).rfind("iou-wrk", 0) == 0) return true;
  return false;
}

// The pager waits for what it has the kernel write, while all other threads stand still.
TEST_F(ThreadStopTest, TheKernelsOwnThreadsGoOn) {
  if (shared_->from_ring == kNoRing) GTEST_SKIP() << "no io_uring here";
  while (!has_io_worker(child_)) std::this_thread::yield();
  ThreadStop stop;
  stop.stop(child_, shared_->free_thread);
  constexpr int kWord = 4711;
  ASSERT_EQ(write(ring_writing_.get(), &kWord, sizeof kWord), ssize_t{sizeof kWord});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (shared_->from_ring != kWord && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(shared_->from_ring, kWord);
}

TEST_F(ThreadStopTest, ThoseThatEndMeanwhileAreNoConcern) {
  ThreadStop stop;
  shared_->end_some = true;
  stop.stop(child_);
  const uint64_t before = ticks(0, kThreads);
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  EXPECT_EQ(ticks(0, kThreads), before);
  stop.let_all_go();
  for (unsigned i = 1; i < 5; ++i) await_ticks(i, i + 1);
}

TEST_F(ThreadStopTest, SignalsWait) {
  {
    ThreadStop stop;
    stop.stop(child_, shared_->free_thread);
    tgkill(child_, child_, SIGUSR1);
    await_ticks(kThreads - 1, kThreads);
    EXPECT_EQ(shared_->signals, 0);
  }
  while (shared_->signals == 0) std::this_thread::yield();
}

TEST_F(ThreadStopTest, SignalsUnderWayAreNotLost) {
  int sent = 0;
  for (; sent < 200; ++sent) {
    tgkill(child_, child_, SIGUSR1);
    {
      ThreadStop stop;
      stop.stop(child_);
    }
    while (shared_->signals <= sent) std::this_thread::yield();
  }
  EXPECT_EQ(shared_->signals, sent);
}

TEST_F(ThreadStopTest, AReadGoesOn) {
  {
    ThreadStop stop;
    stop.stop(child_);
  }
  {
    ThreadStop stop;
    stop.stop(child_);
    ASSERT_EQ(write(writing_.get(), "intact", 6), 6);
  }
  while (shared_->ready < kThreads + 2) std::this_thread::yield();
  EXPECT_STREQ(shared_->text, "intact");
}

// As CRIU leaves what it has restored.
TEST_F(ThreadStopTest, AGroupStopEndsUnseen) {
  kill(child_, SIGSTOP);
  {
    ThreadStop stop;
    stop.stop(child_);
    stop.end_group_stop(child_);
    const uint64_t before = ticks(0, kThreads - 1);
    stop.let_go(shared_->free_thread);
    await_ticks(kThreads - 1, kThreads);
    EXPECT_EQ(ticks(0, kThreads - 1), before);
  }
  await_ticks(0, kThreads);
  EXPECT_EQ(shared_->continued, 0);
}

TEST_F(ThreadStopTest, AGroupStopStays) {
  kill(child_, SIGSTOP);
  {
    ThreadStop stop;
    stop.stop(child_);
  }
  while (process_state(child_) != 'T') std::this_thread::yield();
  kill(child_, SIGCONT);
  await_ticks(0, kThreads);
  EXPECT_EQ(shared_->continued, 1);
}

TEST_F(ThreadStopTest, AKilledProcessIsLetGo) {
  ThreadStop stop;
  stop.stop(child_);
  kill(child_, SIGKILL);
  stop.let_all_go();
  int status = 0;
  ASSERT_EQ(waitpid(child_, &status, 0), child_);
  EXPECT_TRUE(WIFSIGNALED(status));
}

}  // namespace
}  // namespace ebb::snapshot
