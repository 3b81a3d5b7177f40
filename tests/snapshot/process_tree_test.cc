// What /proc tells of processes.
#include "snapshot/process_tree.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <thread>

#include "snapshot/criu.h"
#include "snapshot/criu_process.h"

namespace ebb::snapshot {
namespace {

// Its parent has not asked for its end yet.
void kill_unasked(pid_t child) {
  kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
}

TEST(ProcessTreeTest, WhatIsEndingIsTold) {
  EXPECT_FALSE(is_ending(getpid()));
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  EXPECT_FALSE(is_ending(child));
  ASSERT_NO_FATAL_FAILURE(kill_unasked(child));
  EXPECT_TRUE(is_ending(child));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(is_ending(child));
}

TEST(ProcessTreeTest, WhatHasEndedInPartIsTold) {
  EXPECT_FALSE(has_ended_in_part(getpid()));
  const pid_t child = fork();
  if (child == 0) {
    std::thread([] { pause(); }).detach();
    syscall(SYS_exit, 0);  // of this thread alone; pthread_exit() would unwind the test
  }
  while (!has_ended(child)) std::this_thread::yield();
  EXPECT_TRUE(has_ended_in_part(child));
  ASSERT_NO_FATAL_FAILURE(kill_unasked(child));
  EXPECT_FALSE(has_ended_in_part(child));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(ProcessTreeTest, ARestoringCriuIsToldByItsWords) {
  EXPECT_TRUE(is_restoring_criu(common_options("restore", "log")));
  EXPECT_FALSE(is_restoring_criu(common_options("dump", "log")));
  EXPECT_FALSE(is_restoring_criu({"ebb", "restore", "tag"}));
  EXPECT_FALSE(is_restoring_criu({"restore"}));
}

}  // namespace
}  // namespace ebb::snapshot
