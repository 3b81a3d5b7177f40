// Tests of os/uring_queue.h against a real file: transfers, errors, ends of files, full queues, and the pager's wait.
#include "os/uring_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace ebb {
namespace {

class UringQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto opened = queue_.open();
    if (opened.error() == Errno{EPERM} || opened.error() == Errno{ENOSYS})
      GTEST_SKIP() << "io_uring is not permitted here (seccomp or sysctl kernel.io_uring_disabled)";
    ASSERT_TRUE(opened.ok()) << opened.error().value;
    std::string name = testing::TempDir() + "/ebb-uring-XXXXXX";
    fd_ = mkstemp(name.data());
    ASSERT_GE(fd_, 0);
    unlink(name.c_str());
  }
  void TearDown() override {
    if (fd_ >= 0) ::close(fd_);
    queue_.close();
  }

  // Runs everything that was submitted to its end.
  std::map<uint64_t, int32_t> finish() {
    std::map<uint64_t, int32_t> results;
    while (queue_.in_flight()) {
      queue_.wait_one();
      IoCompletion done[8];
      const unsigned n = queue_.reap(done, 8);
      for (unsigned i = 0; i < n; ++i) EXPECT_TRUE(results.emplace(done[i].tag, done[i].result).second);
    }
    return results;
  }
  int32_t one(const IoRequest& request) {
    EXPECT_TRUE(queue_.submit(request));
    return finish().at(request.tag);
  }

  UringQueue queue_;
  int fd_ = -1;
};

TEST_F(UringQueueTest, WritesAndReadsBack) {
  std::vector<char> out(1 << 20), in(1 << 20);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 31 >> 3);
  for (unsigned i = 0; i < 16; ++i)
    ASSERT_TRUE(queue_.submit({fd_, true, out.data() + i * 65536, 65536, (15 - i) * 65536ul, i}));
  EXPECT_EQ(queue_.in_flight(), 16u);
  for (const auto& [tag, result] : finish()) EXPECT_EQ(result, 65536) << tag;
  for (unsigned i = 0; i < 16; ++i)
    ASSERT_TRUE(queue_.submit({fd_, false, in.data() + i * 65536, 65536, (15 - i) * 65536ul, 100 + i}));
  const auto results = finish();
  EXPECT_EQ(results.size(), 16u);
  for (const auto& [tag, result] : results) EXPECT_EQ(result, 65536) << tag;
  EXPECT_EQ(in, out);
}

TEST_F(UringQueueTest, AFileThatEndsEarlyGivesWhatItHas) {
  ASSERT_EQ(ftruncate(fd_, 5000), 0);
  std::vector<char> in(8192, 'x');
  EXPECT_EQ(one({fd_, false, in.data(), 8192, 0, 1}), 5000);
  EXPECT_EQ(in[4999], 0);
  EXPECT_EQ(in[5000], 'x');
  EXPECT_EQ(one({fd_, false, in.data(), 4096, 8192, 2}), 0) << "past the end";
}

TEST_F(UringQueueTest, APipeThatDeliversInPiecesIsReadToTheEnd) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  std::vector<char> in(3 * 4096);
  ASSERT_TRUE(queue_.submit({pipe_fds[0], false, in.data(), 3 * 4096, 0, 5}));
  queue_.flush();
  const std::vector<char> part(4096, 'p');
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(write(pipe_fds[1], part.data(), part.size()), 4096);
    IoCompletion done;
    if (i < 2) {
      EXPECT_EQ(queue_.reap(&done, 1), 0u) << "a short transfer is no completion";
    }
  }
  EXPECT_EQ(finish().at(5), 3 * 4096);
  EXPECT_EQ(std::count(in.begin(), in.end(), 'p'), 3 * 4096);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST_F(UringQueueTest, ErrorsComeWithTheirTag) {
  char page[4096] = {};
  EXPECT_EQ(one({-1, false, page, 4096, 0, 7}), -EBADF);
  const int read_only = ::open("/dev/null", O_RDONLY);
  EXPECT_EQ(one({read_only, true, page, 4096, 0, 8}), -EBADF);
  ::close(read_only);
  EXPECT_EQ(one({fd_, true, reinterpret_cast<void*>(4096), 4096, 0, 9}), -EFAULT);
  const int full = ::open("/dev/full", O_WRONLY);
  EXPECT_EQ(one({full, true, page, 4096, 0, 10}), -ENOSPC);
  ::close(full);
}

TEST_F(UringQueueTest, AFullQueueSaysSoAndRecovers) {
  static char pages[UringQueue::kDepth][4096];
  for (unsigned i = 0; i < UringQueue::kDepth; ++i) {
    pages[i][0] = static_cast<char>(i);
    ASSERT_TRUE(queue_.submit({fd_, true, pages[i], 4096, i * 4096ul, i}));
  }
  EXPECT_FALSE(queue_.submit({fd_, true, pages[0], 4096, 0, 999}));
  EXPECT_EQ(finish().size(), UringQueue::kDepth);
  EXPECT_TRUE(queue_.submit({fd_, true, pages[0], 4096, 0, 999}));
  EXPECT_EQ(finish().at(999), 4096);
}

TEST_F(UringQueueTest, ReapNeverWaits) {
  IoCompletion done;
  EXPECT_EQ(queue_.reap(&done, 1), 0u);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  char byte;
  ASSERT_TRUE(queue_.submit({pipe_fds[0], false, &byte, 1, 0, 3}));
  queue_.flush();
  EXPECT_EQ(queue_.reap(&done, 1), 0u);
  ASSERT_EQ(write(pipe_fds[1], "z", 1), 1);
  EXPECT_EQ(finish().at(3), 1);
  EXPECT_EQ(byte, 'z');
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST_F(UringQueueTest, WaitEndsByDescriptorOrTransferOrTime) {
  const int faults = eventfd(0, EFD_NONBLOCK), wakes = eventfd(0, EFD_NONBLOCK);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  constexpr uint64_t kLong = 600'000'000'000;
  const uint64_t one_more = 1;
  uint64_t drain;

  queue_.wait(faults, wakes, 1'000'000);  // nothing at all: returns by time
  ASSERT_EQ(write(faults, &one_more, 8), 8);
  queue_.wait(faults, wakes, kLong);
  ASSERT_EQ(read(faults, &drain, 8), 8);

  // The same while a transfer is under way, woken by another thread once asleep or just before.
  char byte;
  ASSERT_TRUE(queue_.submit({pipe_fds[0], false, &byte, 1, 0, 4}));
  for (int fd : {faults, wakes, faults}) {
    std::thread waker([&] { ASSERT_EQ(write(fd, &one_more, 8), 8); });
    do queue_.wait(faults, wakes, kLong);
    while (read(fd, &drain, 8) != 8);
    waker.join();
  }
  IoCompletion done;
  EXPECT_EQ(queue_.reap(&done, 1), 0u);

  std::thread writer([&] { ASSERT_EQ(write(pipe_fds[1], "z", 1), 1); });
  do queue_.wait(faults, wakes, kLong);
  while (queue_.reap(&done, 1) == 0);
  writer.join();
  EXPECT_EQ(done.tag, 4u);
  EXPECT_EQ(queue_.in_flight(), 0u);
  for (int fd : {faults, wakes, pipe_fds[0], pipe_fds[1]}) ::close(fd);
}

}  // namespace
}  // namespace ebb
