// Tests of os/pins.h: who could hold pages is found among the process's descriptors, and ours do not count.
#include "os/pins.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cstdlib>
#include <string>

#include "os/fd.h"
#include "os/uring_queue.h"

namespace ebb {
namespace {

class Pins : public testing::Test {
 protected:
  void SetUp() override {
    if (pages_may_be_held()) GTEST_SKIP() << "this process was started with such a descriptor";
  }
};

int direct_file() {
  std::string path = testing::TempDir() + "ebb-pins-XXXXXX";
  const int fd = mkostemp(path.data(), O_DIRECT | O_CLOEXEC);
  if (fd >= 0) unlink(path.c_str());
  return fd;
}

TEST_F(Pins, AFileForDirectTransfers) {
  const int fd = direct_file();
  if (fd < 0) GTEST_SKIP() << testing::TempDir() << " has no O_DIRECT";
  EXPECT_TRUE(pages_may_be_held());
  close(fd);
  EXPECT_FALSE(pages_may_be_held());
}

TEST_F(Pins, OursDoNotCount) {
  const int fd = direct_file();
  if (fd < 0) GTEST_SKIP() << testing::TempDir() << " has no O_DIRECT";
  const auto safe = protect_fd(fd);
  ASSERT_TRUE(safe.ok());
  EXPECT_FALSE(pages_may_be_held());
  close_protected(safe.value());
}

TEST_F(Pins, OrdinaryDescriptorsHoldNothing) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/urandom", "/proc/self/maps", "/"}) {
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << name;
    EXPECT_FALSE(pages_may_be_held()) << name;
    close(fd);
  }
  close(ends[0]);
  close(ends[1]);
}

TEST_F(Pins, MoreDescriptorsThanOneReadGives) {
  const int fd = direct_file();
  if (fd < 0) GTEST_SKIP() << testing::TempDir() << " has no O_DIRECT";
  int fds[100];
  for (int& f : fds) f = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int last = fcntl(fd, F_DUPFD_CLOEXEC, 600);
  close(fd);
  EXPECT_TRUE(pages_may_be_held());
  close(last);
  EXPECT_FALSE(pages_may_be_held());
  for (int f : fds) close(f);
}

}  // namespace
}  // namespace ebb
