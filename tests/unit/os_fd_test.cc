// Tests of os/fd.h: our descriptors go to high numbers, close on exec, and are found by the close family.
#include "os/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <cerrno>
#include <vector>

namespace ebb {
namespace {

int any_fd() { return ::open("/dev/null", O_RDONLY); }
bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, ProtectMovesAwayAndMarksCloseOnExec) {
  const int low = any_fd();
  const auto high = protect_fd(low);
  ASSERT_TRUE(high.ok());
  EXPECT_GT(high.value(), low);
  EXPECT_GE(high.value(), 100);
  EXPECT_FALSE(is_open(low));
  EXPECT_EQ(fcntl(high.value(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_TRUE(is_protected(high.value()));
  EXPECT_FALSE(is_protected(low));
  close_protected(high.value());
  EXPECT_FALSE(is_protected(high.value()));
  EXPECT_FALSE(is_open(high.value()));
}

TEST(Fd, ABadDescriptorIsAnError) { EXPECT_EQ(protect_fd(-1).error(), Errno{EBADF}); }

TEST(Fd, NextProtectedWalksInOrder) {
  std::vector<int> fds;
  for (int i = 0; i < 5; ++i) fds.push_back(protect_fd(any_fd()).value());
  close_protected(fds[2]);
  fds.erase(fds.begin() + 2);
  std::vector<int> seen;
  for (int fd = next_protected(0, INT32_MAX); fd >= 0; fd = next_protected(fd + 1, INT32_MAX)) seen.push_back(fd);
  EXPECT_EQ(seen, fds);
  EXPECT_EQ(next_protected(0, fds[0] - 1), -1);
  EXPECT_EQ(next_protected(fds[3] + 1, INT32_MAX), -1);
  for (int fd : fds) close_protected(fd);
  EXPECT_EQ(next_protected(0, INT32_MAX), -1);
}

TEST(Fd, ForgottenStaysOpen) {
  const int fd = protect_fd(any_fd()).value();
  forget_protected(fd);
  EXPECT_FALSE(is_protected(fd));
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

TEST(Fd, AFullListRefusesAndLeaksNothing) {
  std::vector<int> fds;
  Errno error;
  for (int i = 0; i < 1000 && !error; ++i) {
    const auto r = protect_fd(any_fd());
    error = r.error();
    if (r.ok()) fds.push_back(r.value());
  }
  EXPECT_EQ(error, Errno{EMFILE});
  EXPECT_GE(fds.size(), 256u) << "255 store layers and a few more";
  EXPECT_FALSE(is_open(fds.back() + 1));
  for (int fd : fds) close_protected(fd);
}

TEST(Fd, LastingFdOutlivesItsHolder) {
  const int a = protect_fd(any_fd()).value(), b = protect_fd(any_fd()).value();
  {
    LastingFd holder;
    holder.reset(a);
    EXPECT_EQ(holder.get(), a);
    holder.reset(b);
    EXPECT_FALSE(is_protected(a));
  }
  EXPECT_TRUE(is_protected(b));
  close_protected(b);
}

}  // namespace
}  // namespace ebb
