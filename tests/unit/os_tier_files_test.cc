// Tests of os/tier_files.h on real file systems: files without a name, mode 0600, space reserved and given back.
#include "os/tier_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/units.h"
#include "os/fd.h"

namespace ebb {
namespace {

// A fresh directory, gone at the end; it must be empty then.
class Folder {
 public:
  explicit Folder(const std::string& parent) : path_(parent + "/ebb-tier-XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~Folder() { EXPECT_EQ(rmdir(path_.c_str()), 0) << "something was left in " << path_; }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const char* path() const { return path_.c_str(); }
  unsigned entries() const {
    DIR* d = opendir(path());
    unsigned n = 0;
    while (readdir(d)) ++n;
    closedir(d);
    return n - 2;
  }

 private:
  std::string path_;
};

uint64_t blocks_of(int fd) {
  struct stat s = {};
  EXPECT_EQ(fstat(fd, &s), 0);
  return static_cast<uint64_t>(s.st_blocks) * 512;
}

TEST(TierFiles, FilesHaveNoNameAndAreOursAlone) {
  const Folder folder(testing::TempDir());
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_STREQ(files.directory(), folder.path());
  const auto fd = files.create();
  ASSERT_TRUE(fd.ok()) << fd.error().value;
  EXPECT_EQ(folder.entries(), 0u);
  EXPECT_TRUE(is_protected(fd.value()));
  struct stat s = {};
  ASSERT_EQ(fstat(fd.value(), &s), 0);
  EXPECT_EQ(s.st_mode & 07777, 0600u);
  EXPECT_EQ(s.st_nlink, 0u);
  EXPECT_EQ(s.st_size, 0);
  files.close(fd.value());
  EXPECT_EQ(fcntl(fd.value(), F_GETFD), -1);
  EXPECT_FALSE(is_protected(fd.value()));
}

TEST(TierFiles, SpaceIsReservedAndGivenBack) {
  const Folder folder(testing::TempDir());
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  const int fd = files.create().value();
  ASSERT_FALSE(files.reserve(fd, 0, 1 << 20));
  if (blocks_of(fd) < (1 << 20)) GTEST_SKIP() << "this file system does not reserve space (fallocate)";
  files.punch(fd, 0, 1 << 19);
  EXPECT_LT(blocks_of(fd), 1u << 20);
  struct stat s = {};
  ASSERT_EQ(fstat(fd, &s), 0);
  EXPECT_EQ(s.st_size, 1 << 20) << "the file keeps its size";
  EXPECT_EQ(files.reserve(fd, 0, uint64_t{1} << 62), Errno{EFBIG});
  files.close(fd);
}

TEST(TierFiles, AFileNameStandsForItsFolder) {
  const Folder folder(testing::TempDir());
  LinuxTierFiles files;
  ASSERT_FALSE(files.open((std::string(folder.path()) + "/store").c_str()));
  EXPECT_STREQ(files.directory(), folder.path());
}

TEST(TierFiles, BadPathsAreErrors) {
  LinuxTierFiles files;
  EXPECT_EQ(files.open("/nonexistent-folder/deeper/store"), Errno{ENOENT});
  EXPECT_EQ(files.open(std::string(5000, 'x').c_str()), Errno{ENAMETOOLONG});
  ASSERT_FALSE(files.open("/proc/self"));
  EXPECT_FALSE(files.create().ok());
}

TEST(TierFiles, MemoryIsMapped) {
  struct statfs fs = {};
  if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC) GTEST_SKIP() << "/dev/shm is not a tmpfs here";
  const Folder folder("/dev/shm");
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_TRUE(files.byte_addressable());
  const int fd = files.create().value();
  ASSERT_FALSE(files.reserve(fd, 0, 4 * kPageSize));
  char* mapping = files.map(fd);
  ASSERT_NE(mapping, nullptr);
  const std::vector<char> page(kPageSize, 'm');
  files.copy_out(mapping + kPageSize, page.data(), kPageSize);
  char seen = 0;
  EXPECT_EQ(pread(fd, &seen, 1, kPageSize), 1);
  EXPECT_EQ(seen, 'm');
  // It grows under the mapping.
  ASSERT_FALSE(files.reserve(fd, 4 * kPageSize, kExtentSize));
  mapping[kExtentSize] = 'g';
  EXPECT_EQ(pread(fd, &seen, 1, kExtentSize), 1);
  EXPECT_EQ(seen, 'g');
  files.unmap(mapping);
  files.close(fd);
}

}  // namespace
}  // namespace ebb
