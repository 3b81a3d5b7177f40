// Tests of os/linux_pages.h against the running kernel: what the contract in os/kernel.h says is what the kernel does.
// The same statements are made about FakePages in fake_kernel_test.cc; the two files are meant to be read side by side.
#include "os/linux_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "os/uring_queue.h"

namespace ebb {
namespace {

constexpr size_t kPage = kPageSize;

// An anonymous mapping, extent-aligned.
class Map {
 public:
  explicit Map(size_t bytes) : bytes_(bytes) {
    raw_ = static_cast<char*>(
        mmap(nullptr, bytes + kExtentSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(raw_, MAP_FAILED);
    begin_ = Address{align_up(reinterpret_cast<uintptr_t>(raw_), kExtentSize)};
    madvise(raw_, bytes + kExtentSize, MADV_NOHUGEPAGE);
  }
  ~Map() { munmap(raw_, bytes_ + kExtentSize); }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;
  AddressRange range() const { return range_at(begin_, bytes_); }
  Address page(size_t i) const { return begin_ + i * kPage; }
  volatile char& at(size_t i) const { return *page(i).pointer<volatile char>(); }
  void touch(size_t i) const { [[maybe_unused]] const char seen = at(i); }

 private:
  size_t bytes_;
  char* raw_ = nullptr;
  Address begin_;
};

class LinuxPagesTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto opened = ops_.open();
    if (!opened.ok()) {
      ASSERT_TRUE(opened.error() == Errno{EPERM} || opened.error() == Errno{ENOSYS} ||
                  opened.error() == Errno{EINVAL} || opened.error() == Errno{EACCES})
          << opened.error().value;
      GTEST_SKIP() << "userfaultfd with kernel-mode faults and UFFDIO_MOVE is not to be had here (errno "
                   << opened.error().value
                   << "): needs Linux 6.8 and root, CAP_SYS_PTRACE or access to /dev/userfaultfd";
    }
  }

  Fault next_fault() {
    Fault f;
    pollfd p = {ops_.fault_fd(), POLLIN, 0};
    do EXPECT_EQ(poll(&p, 1, 10000), 1) << "no fault arrived";
    while (!ops_.read_faults(&f, 1) && !HasFailure());
    return f;
  }
  unsigned pages_present(const Map& m) { return ops_.present(m.range().begin, nullptr).count(); }

  LinuxPages ops_;
  void TearDown() override { ops_.close(); }
};

TEST_F(LinuxPagesTest, AFaultIsReportedAndCopyAnswersIt) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  std::atomic<pid_t> tid{0};
  char seen = 0;
  std::thread program([&] {
    tid = gettid();
    seen = m.at(3);
  });
  const Fault f = next_fault();
  EXPECT_EQ(f.address, m.page(3));
  EXPECT_EQ(f.thread, static_cast<uint32_t>(tid));
  EXPECT_FALSE(f.write);
  EXPECT_FALSE(f.write_protect);
  const std::vector<char> page(kPage, 'c');
  const Progress p = ops_.copy(m.page(3), page.data(), Bytes{kPage});
  EXPECT_EQ(p.done.count, kPage);
  EXPECT_FALSE(p.error);
  program.join();
  EXPECT_EQ(seen, 'c');
  EXPECT_EQ(ops_.present(m.range().begin, nullptr), PageSet::of({3, 1}));
}

TEST_F(LinuxPagesTest, AWriteFaultSaysSoAndSystemCallsFaultToo) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  ASSERT_EQ(write(pipe_fds[1], "k", 1), 1);
  std::thread program([&] {
    m.at(0) = 'w';
    EXPECT_EQ(read(pipe_fds[0], m.page(1).pointer(), 1), 1);
  });
  const std::vector<char> zeros(kPage, 0);
  for (size_t i = 0; i < 2; ++i) {
    const Fault f = next_fault();
    EXPECT_EQ(f.address, m.page(i));
    EXPECT_TRUE(f.write);
    EXPECT_FALSE(ops_.copy(m.page(i), zeros.data(), Bytes{kPage}).error);
  }
  program.join();
  EXPECT_EQ(m.at(0), 'w');
  EXPECT_EQ(m.at(1), 'k');
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_F(LinuxPagesTest, CopyStopsAtPresentPagesAndOutsideArmedRanges) {
  Map m(kExtentSize);
  const std::vector<char> pages(8 * kPage, 'n');
  EXPECT_EQ(ops_.copy(m.page(0), pages.data(), Bytes{kPage}).error, Errno{ENOENT});
  m.at(2) = 'o';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  const Progress p = ops_.copy(m.page(0), pages.data(), Bytes{8 * kPage});
  EXPECT_EQ(p.done.count, 2 * kPage);
  EXPECT_EQ(p.error, Errno{EEXIST});
  EXPECT_EQ(m.at(1), 'n');
  EXPECT_EQ(m.at(2), 'o');
}

TEST_F(LinuxPagesTest, MoveTakesPagesOutOfSightAndBack) {
  Map m(kExtentSize), limbo(kExtentSize);
  for (size_t i = 0; i < 8; ++i) m.at(i) = static_cast<char>('a' + i);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  Progress p = ops_.move(limbo.page(0), m.page(0), Bytes{8 * kPage});
  EXPECT_EQ(p.done.count, 8 * kPage);
  EXPECT_FALSE(p.error);
  EXPECT_EQ(pages_present(m), 0u);
  EXPECT_EQ(ops_.present(limbo.range().begin, nullptr), PageSet::of({0, 8}));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(limbo.at(i), static_cast<char>('a' + i));

  char seen = 0;
  std::thread program([&] { seen = m.at(5); });
  EXPECT_EQ(next_fault().address, m.page(5));
  p = ops_.move(m.page(5), limbo.page(5), Bytes{kPage});
  EXPECT_FALSE(p.error);
  program.join();
  EXPECT_EQ(seen, 'f');
  EXPECT_EQ(ops_.present(limbo.range().begin, nullptr).count(), 7u);
}

TEST_F(LinuxPagesTest, MoveSkipsHolesAndStopsAtPresentTargets) {
  Map m(kExtentSize), limbo(kExtentSize);
  for (size_t i : {0u, 2u, 5u}) m.at(i) = 'x';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  limbo.at(5) = 'y';
  const Progress p = ops_.move(limbo.page(0), m.page(0), Bytes{8 * kPage});
  EXPECT_EQ(p.done.count, 5 * kPage);
  EXPECT_EQ(p.error, Errno{EEXIST});
  EXPECT_EQ(ops_.present(m.range().begin, nullptr), PageSet::of({5, 1}));
  EXPECT_EQ(limbo.at(2), 'x');
  EXPECT_EQ(limbo.at(5), 'y');
}

TEST_F(LinuxPagesTest, MoveNeedsARegisteredTargetOfTheSameProtection) {
  Map m(kExtentSize), limbo(kExtentSize);
  m.at(0) = 'x';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  EXPECT_EQ(ops_.move(limbo.page(0), m.page(0), Bytes{kPage}).error, Errno{EINVAL});
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  ASSERT_EQ(mprotect(m.range().begin.pointer(), kExtentSize, PROT_READ), 0);
  EXPECT_EQ(ops_.move(limbo.page(0), m.page(0), Bytes{kPage}).error, Errno{EINVAL});
  ASSERT_EQ(mprotect(m.range().begin.pointer(), kExtentSize, PROT_READ | PROT_WRITE), 0);
  EXPECT_FALSE(ops_.move(limbo.page(0), m.page(0), Bytes{kPage}).error);
}

TEST_F(LinuxPagesTest, APagePinnedByTheKernelIsBusy) {
  UringQueue queue;
  if (!queue.open().ok()) GTEST_SKIP() << "no io_uring to pin a page with";
  Map m(kExtentSize), limbo(kExtentSize);
  for (size_t i = 0; i < 4; ++i) m.at(i) = 'p';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  // A fixed buffer is a long-term pin, as RDMA and GPUs take it.
  io_uring ring;
  ASSERT_EQ(io_uring_queue_init(2, &ring, 0), 0);
  const iovec pinned = {m.page(2).pointer(), kPage};
  ASSERT_EQ(io_uring_register_buffers(&ring, &pinned, 1), 0);
  const Progress p = ops_.move(limbo.page(0), m.page(0), Bytes{4 * kPage});
  EXPECT_EQ(p.done.count, 2 * kPage);
  EXPECT_EQ(p.error, Errno{EBUSY});
  EXPECT_EQ(m.at(2), 'p') << "still in place";
  ASSERT_EQ(io_uring_unregister_buffers(&ring), 0);
  EXPECT_FALSE(ops_.move(limbo.page(2), m.page(2), Bytes{2 * kPage}).error);
  io_uring_queue_exit(&ring);
  queue.close();
}

TEST_F(LinuxPagesTest, APageSharedByForkIsBusyUntilItIsUnshared) {
  Map m(kExtentSize), limbo(kExtentSize);
  m.at(0) = 's';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  ops_.inherit(m.range(), true);
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(hold[1]);
    char end;
    _exit(read(hold[0], &end, 1) == 0 && m.at(0) == 's' ? 0 : 1);
  }
  close(hold[0]);
  EXPECT_EQ(ops_.move(limbo.page(0), m.page(0), Bytes{kPage}).error, Errno{EBUSY});
  ops_.unshare(range_at(m.page(0), kPage));
  EXPECT_FALSE(ops_.move(limbo.page(0), m.page(0), Bytes{kPage}).error);
  EXPECT_EQ(limbo.at(0), 's');
  close(hold[1]);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// A child shares every page; then pages are made private in patterns. What move() says is where the pages are.
TEST_F(LinuxPagesTest, AMoveSaysExactlyHowFarItCameAmongSharedPages) {
  constexpr size_t kPages = 64;
  Map m(kExtentSize), limbo(kExtentSize);
  for (size_t i = 0; i < kPages; ++i) m.at(i) = static_cast<char>(i + 1);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  ops_.inherit(m.range(), true);
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(hold[1]);
    char end;
    _exit(read(hold[0], &end, 1) == 0 ? 0 : 1);
  }
  close(hold[0]);
  EXPECT_TRUE(ops_.exclusive(m.page(0)).none());
  for (size_t i = 0; i < kPages; ++i)
    if (i % 7 && i % 5) ops_.unshare(range_at(m.page(i), kPage));
  for (size_t at = 0; at < kPages;) {
    const Progress p = ops_.move(limbo.page(at), m.page(at), Bytes{(kPages - at) * kPage});
    const size_t stop = at + p.done.count / kPage;
    const PageSet here = ops_.present(m.page(0), nullptr), there = ops_.present(limbo.page(0), nullptr);
    for (size_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(here.test(static_cast<unsigned>(i)), i >= stop) << i << " after a move to " << stop;
      EXPECT_EQ(there.test(static_cast<unsigned>(i)), i < stop) << i << " after a move to " << stop;
    }
    if (stop == kPages) break;
    EXPECT_EQ(p.error, Errno{EBUSY});
    EXPECT_FALSE(ops_.exclusive(m.page(0)).test(static_cast<unsigned>(stop)));
    ops_.unshare(range_at(m.page(stop), kPage));
    EXPECT_TRUE(ops_.exclusive(m.page(0)).test(static_cast<unsigned>(stop)));
    at = stop;
  }
  for (size_t i = 0; i < kPages; ++i) EXPECT_EQ(limbo.at(i), static_cast<char>(i + 1));
  close(hold[1]);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Zeros where pages were evicted would be a wrong answer; no answer is none.
TEST_F(LinuxPagesTest, AChildForkedBehindOurBackHasNoArmedRange) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer answers SIGSEGV itself";
#endif
  Map m(kExtentSize);
  m.at(0) = 's';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    _exit(m.at(0) == 's');
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST_F(LinuxPagesTest, ProtectedPagesFaultOnWriteOnly) {
  Map m(kExtentSize);
  m.at(0) = 'r';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.protect(range_at(m.page(0), kPage), true).ok());
  EXPECT_EQ(m.at(0), 'r');
  std::thread program([&] { m.at(0) = 'w'; });
  const Fault f = next_fault();
  EXPECT_EQ(f.address, m.page(0));
  EXPECT_TRUE(f.write_protect);
  EXPECT_TRUE(ops_.protect(range_at(m.page(0), kPage), false).ok());
  program.join();
  EXPECT_EQ(m.at(0), 'w');
}

TEST_F(LinuxPagesTest, DisarmLetsWaitersGoOnWithZeros) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  char seen = 'u';
  std::thread program([&] { seen = m.at(9); });
  next_fault();
  EXPECT_TRUE(ops_.disarm(m.range()).ok());
  program.join();
  EXPECT_EQ(seen, 0);
}

TEST_F(LinuxPagesTest, AWokenThreadFaultsAgain) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  std::thread program([&] { m.touch(1); });
  EXPECT_EQ(next_fault().address, m.page(1));
  ops_.wake(range_at(m.page(1), kPage));
  EXPECT_EQ(next_fault().address, m.page(1));
  ASSERT_TRUE(ops_.disarm(m.range()).ok());
  program.join();
}

TEST_F(LinuxPagesTest, AWakeTakesAlongFaultsThatWereNotRead) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  std::thread program([&] { m.touch(1); });
  pollfd p = {ops_.fault_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 10000), 1);
  const std::vector<char> page(kPage, 'c');
  EXPECT_FALSE(ops_.copy(m.page(1), page.data(), Bytes{kPage}).error);
  program.join();
  Fault f;
  EXPECT_EQ(ops_.read_faults(&f, 1), 0u);
}

TEST_F(LinuxPagesTest, DiscardedPagesFaultAgain) {
  Map m(kExtentSize);
  for (size_t i = 0; i < 4; ++i) m.at(i) = 'd';
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ops_.discard(range_at(m.page(1), 2 * kPage));
  PageSet expected;
  expected.set(0);
  expected.set(3);
  EXPECT_EQ(ops_.present(m.range().begin, nullptr), expected);
}

TEST_F(LinuxPagesTest, PopulateMakesLimboPresentAndHuge) {
  Map limbo(kExtentSize);
  madvise(limbo.range().begin.pointer(), kExtentSize, MADV_HUGEPAGE);
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  bool huge = true;
  EXPECT_TRUE(ops_.present(limbo.range().begin, &huge).none());
  EXPECT_FALSE(huge);
  EXPECT_TRUE(ops_.populate(limbo.range()));
  EXPECT_TRUE(ops_.present(limbo.range().begin, &huge).full());
  ops_.discard(range_at(limbo.page(7), kPage));
  EXPECT_EQ(ops_.present(limbo.range().begin, &huge).count(), 511u);
  EXPECT_FALSE(huge);
}

TEST_F(LinuxPagesTest, PresentSeesScatteredPagesExactly) {
  Map m(kExtentSize);
  PageSet touched;
  for (size_t i = 1; i < kPagesPerExtent; i += 2) {  // more regions than one scan returns
    m.at(i) = 1;
    touched.set(static_cast<unsigned>(i));
  }
  EXPECT_EQ(ops_.present(m.range().begin, nullptr), touched);
}

// Of /proc/self/status, in pages.
uint64_t anonymous_pages() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssAnon:" && status >> word) return std::stoull(word) / 4;
  return 0;
}

TEST_F(LinuxPagesTest, WhatAFileReplacesIsFreedLater) {
  constexpr size_t kPages = 8 * kPagesPerExtent, kMost = kPages / 2;
  const Map m(kPages * kPage);
  std::FILE* const file = std::tmpfile();
  const std::vector<char> text(kPages * kPage, 'f');
  ASSERT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
  ASSERT_EQ(std::fflush(file), 0);
  ASSERT_TRUE(ops_.arm({m.page(0), m.page(kMost)}).ok());  // a mapping of its own, since the others are not
  for (size_t i = 0; i < kMost; ++i) ASSERT_TRUE(ops_.copy(m.page(i), text.data(), Bytes{kPage}).done.count);
  for (size_t i = kMost; i < kPages; ++i) m.at(i) = 'a';
  ASSERT_TRUE(ops_.protect({m.page(0), m.page(kMost)}, true).ok());
  const uint64_t before = anonymous_pages();
  ops_.keep_replaced(Bytes{kPages * kPage});
  ASSERT_FALSE(ops_.map_file({m.page(3), m.page(kPages - 3)}, fileno(file), 3 * kPage));
  for (size_t i = 3; i < kPages - 3; i += 31) ASSERT_EQ(m.at(i), 'f');
  EXPECT_EQ(m.at(kPages - 1), 'a');
  const uint64_t replaced = anonymous_pages();
  ops_.free_replaced();
  EXPECT_LT(anonymous_pages() + kPages * 3 / 4, before);
  EXPECT_GT(replaced + kPages / 4, before) << "it was freed at once";
  m.at(5) = 'w';
  EXPECT_EQ(m.at(6), 'f');
  ops_.free_replaced();  // there is nothing more
  EXPECT_EQ(m.at(5), 'w');
  std::fclose(file);
}

TEST_F(LinuxPagesTest, PoisonedPagesRaiseSigbus) {
  Map m(kExtentSize);
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  const auto poisoned = ops_.poison(range_at(m.page(4), kPage));
  if (poisoned.error() == Errno{EOPNOTSUPP} || poisoned.error() == Errno{EINVAL})
    GTEST_SKIP() << "this kernel has no UFFDIO_POISON (Linux 6.6)";
  ASSERT_TRUE(poisoned.ok()) << poisoned.error().value;
  static sigjmp_buf back;
  struct sigaction old, catching = {};
  catching.sa_handler = [](int) { siglongjmp(back, 1); };
  sigaction(SIGBUS, &catching, &old);
  volatile bool raised = false;
  if (sigsetjmp(back, 1) == 0)
    m.touch(4);
  else
    raised = true;
  sigaction(SIGBUS, &old, nullptr);
  EXPECT_TRUE(raised);
  // Poisoned again: refused; copied over: healed; dropped: an ordinary missing page.
  EXPECT_EQ(ops_.poison(range_at(m.page(4), kPage)).error(), Errno{EEXIST});
  const std::vector<char> page(kPage, 'h');
  EXPECT_FALSE(ops_.copy(m.page(4), page.data(), Bytes{kPage}).error);
  EXPECT_EQ(m.at(4), 'h');
}

TEST_F(LinuxPagesTest, ArmRefusesFilesAndOthersRanges) {
  char name[] = "/tmp/ebb-pages-XXXXXX";
  const int fd = mkstemp(name);
  unlink(name);
  ASSERT_EQ(ftruncate(fd, kPage), 0);
  void* file = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  ASSERT_NE(file, MAP_FAILED);
  EXPECT_EQ(ops_.arm(range_at(address_of(file), kPage)).error(), Errno{EINVAL});
  munmap(file, kPage);
  close(fd);

  Map m(kExtentSize);
  LinuxPages other;
  ASSERT_TRUE(other.open().ok());
  ASSERT_TRUE(other.arm(m.range()).ok());
  EXPECT_EQ(ops_.arm(m.range()).error(), Errno{EBUSY});
}

// The heart of it: pages go out of sight and come back, or are replaced by a copy, under writers that never pause.
TEST_F(LinuxPagesTest, NoWriteIsLostUnderMovesAndCopies) {
  constexpr unsigned kPages = 64, kWriters = 2, kRounds = 300;
  Map m(kExtentSize), limbo(kExtentSize);
  for (size_t i = 0; i < kPages; ++i) m.at(i) = 0;
  ASSERT_TRUE(ops_.arm(m.range()).ok());
  ASSERT_TRUE(ops_.arm_limbo(limbo.range()).ok());
  std::atomic<bool> stop{false};
  std::vector<uint64_t> counts[kWriters];
  std::vector<std::thread> writers;
  std::atomic<unsigned> running{kWriters};
  for (unsigned w = 0; w < kWriters; ++w) {
    counts[w].assign(kPages, 0);
    writers.emplace_back([&, w] {
      for (unsigned i = w; !stop.load(std::memory_order_relaxed); i = (i + 7) % kPages) {
        auto* cell = m.page(i).pointer<volatile uint64_t>() + 8 * w;
        *cell = *cell + 1;
        ++counts[w][i];
      }
      --running;
    });
  }
  const auto serve = [&] {
    Fault faults[8];
    const unsigned n = ops_.read_faults(faults, 8);
    for (unsigned i = 0; i < n; ++i) {
      const Address at = faults[i].address;
      const Address from = limbo.range().begin + (at - m.range().begin);
      if (ops_.move(at, from, Bytes{kPage}).error) ops_.wake(range_at(at, kPage));
    }
  };
  for (unsigned round = 0; round < kRounds; ++round) {
    for (unsigned i = 0; i < kPages; ++i) {
      ops_.move(limbo.page(i), m.page(i), Bytes{kPage});
      serve();
      if (round % 3 == 0 && ops_.present(limbo.range().begin, nullptr).test(i)) {
        // Written out and loaded again: a copy takes the page's place.
        const std::vector<char> stored(limbo.page(i).pointer<char>(), limbo.page(i).pointer<char>() + kPage);
        ops_.discard(range_at(limbo.page(i), kPage));
        EXPECT_FALSE(ops_.copy(m.page(i), stored.data(), Bytes{kPage}).error);
      }
    }
  }
  stop = true;
  while (running) serve();
  for (auto& t : writers) t.join();
  ops_.move(m.page(0), limbo.page(0), Bytes{kPages * kPage});
  for (unsigned i = 0; i < kPages; ++i) {
    const Address home = ops_.present(m.range().begin, nullptr).test(i) ? m.page(i) : limbo.page(i);
    for (unsigned w = 0; w < kWriters; ++w) EXPECT_EQ(home.pointer<uint64_t>()[8 * w], counts[w][i]) << i << ' ' << w;
  }
  ops_.close();
}

}  // namespace
}  // namespace ebb
