// Folders for CRIU's logs, and what becomes of those whose owners died.
#include "snapshot/work_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace ebb::snapshot {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class WorkFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/ebb-work-folder-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    base_ = path;
    setenv("TMPDIR", path, 1);
  }
  void TearDown() override {
    unsetenv("TMPDIR");
    std::filesystem::remove_all(base_);
  }

  std::vector<std::string> left() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(base_)) out.push_back(entry.path());
    return out;
  }
  // Of a process that makes one, with a file, and is killed.
  static void die_with_one() {
    const pid_t child = fork();
    if (child == 0) {
      const WorkFolder folder;
      std::ofstream(folder.path() + "/log") << "text";
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }

  std::filesystem::path base_;
};

TEST_F(WorkFolderTest, GoesWithItsObject) {
  {
    const WorkFolder folder;
    std::ofstream(folder.path() + "/log") << "text";
    EXPECT_THAT(left(), ElementsAre(folder.path()));
  }
  EXPECT_THAT(left(), IsEmpty());
}

TEST_F(WorkFolderTest, TheNextOneRemovesWhatADeadProcessLeft) {
  die_with_one();
  ASSERT_EQ(left().size(), 1U);
  const WorkFolder folder;
  EXPECT_THAT(left(), ElementsAre(folder.path()));
}

TEST_F(WorkFolderTest, OneThatIsInUseStays) {
  const WorkFolder used;
  { const WorkFolder folder; }
  EXPECT_THAT(left(), ElementsAre(used.path()));
}

TEST_F(WorkFolderTest, OneThatWhoInheritedItUsesStays) {
  auto used = std::make_unique<WorkFolder>();
  const Fd inherited(dup(used->folder().get()));
  const std::string path = used->path();
  used->keep();  // or it would be removed
  std::filesystem::rename(used->path(), path);
  used.reset();
  { const WorkFolder folder; }
  EXPECT_THAT(left(), ElementsAre(path));
}

TEST_F(WorkFolderTest, OneThatIsKeptStays) {
  std::string path;
  {
    WorkFolder folder;
    folder.keep();
    path = folder.path();
  }
  { const WorkFolder folder; }
  EXPECT_THAT(left(), ElementsAre(path));
}

}  // namespace
}  // namespace ebb::snapshot
