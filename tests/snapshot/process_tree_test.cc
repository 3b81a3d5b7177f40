// What /proc tells of processes.
#include "snapshot/process_tree.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

namespace ebb::snapshot {
namespace {

TEST(ProcessTreeTest, WhatIsEndingIsTold) {
  EXPECT_FALSE(is_ending(getpid()));
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  EXPECT_FALSE(is_ending(child));
  kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(is_ending(child));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(is_ending(child));
}

}  // namespace
}  // namespace ebb::snapshot
