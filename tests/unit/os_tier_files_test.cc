// Tests of os/tier_files.h on real file systems: files without a name, mode 0600, space reserved and given back.
#include "os/tier_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/lock.h"
#include "base/units.h"
#include "os/fd.h"
#include "os/pmem_copy.h"
#include "os/thread.h"

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

TEST(TierFiles, ASnapshotIsWrittenAndReadThroughThePageCache) {
  const Folder folder(testing::TempDir());
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  const int fd = files.create().value();
  const int flags = fcntl(fd, F_GETFL);
  const std::string text = "neither as long as a block nor aligned like one";
  ASSERT_FALSE(files.write(fd, 1, text.data(), text.size(), Cache::kThrough));
  EXPECT_EQ(fcntl(fd, F_GETFL), flags) << "transfers of the queue are as direct as before";
  const auto name = files.name(fd, folder.path());
  ASSERT_TRUE(name.ok()) << name.error().value;
  const auto again = files.reopen(folder.path(), name.value(), false);
  ASSERT_TRUE(again.ok()) << again.error().value;
  EXPECT_EQ(fcntl(again.value(), F_GETFL) & O_DIRECT, 0);
  std::string read(text.size(), ' ');
  ASSERT_FALSE(files.read(again.value(), 1, read.data(), read.size()));
  EXPECT_EQ(read, text);
  files.close(fd);
  files.close(again.value());
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(entry);
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

// A folder on a file system mounted with DAX, or nothing.
std::string dax_folder() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, folder, type, options, rest; mounts >> device >> folder >> type >> options;) {
    std::getline(mounts, rest);
    const std::string all = "," + options + ",";
    const bool asked = all.find(",dax,") != std::string::npos || all.find(",dax=always,") != std::string::npos;
    if (asked && access(folder.c_str(), W_OK) == 0) return folder;
  }
  return "";
}

// Bytes that differ from place to place.
std::vector<char> noise(size_t bytes) {
  std::vector<char> out(bytes);
  uint32_t x = 1;
  for (char& c : out) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
  return out;
}

// Copies of every kind of size and alignment, each surrounded by bytes that must stay.
void expect_copies(LinuxTierFiles& files) {
  const std::vector<char> from = noise(3 * kPageSize);
  std::vector<char> to(3 * kPageSize), expected(to.size());
  for (const size_t bytes : {size_t{1}, size_t{7}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}, kPageSize - 1,
                             kPageSize, kPageSize + 1, 2 * kPageSize}) {
    for (const size_t at : {size_t{0}, size_t{1}, size_t{60}, size_t{64}, size_t{100}}) {
      std::fill(to.begin(), to.end(), 's');
      std::fill(expected.begin(), expected.end(), 's');
      std::copy_n(from.begin() + 13, bytes, expected.begin() + at);
      files.copy_out(to.data() + at, from.data() + 13, bytes);
      EXPECT_TRUE(to == expected) << bytes << " bytes to " << at;
    }
  }
}

#if defined(__SANITIZE_ADDRESS__)
// What libpmem2 keeps of the one mapping that it is asked about.
extern "C" const char* __lsan_default_suppressions() { return "leak:libpmem2.so.1\n"; }
#endif

TEST(TierFiles, ADiskIsNotMapped) {
  const Folder folder(testing::TempDir());
  struct statfs fs = {};
  ASSERT_EQ(statfs(folder.path(), &fs), 0);
  if (fs.f_type == TMPFS_MAGIC || !dax_folder().empty()) GTEST_SKIP() << "the folder for temporary files may be memory";
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_FALSE(files.dax());
  EXPECT_FALSE(files.byte_addressable());
}

TEST(TierFiles, DaxIsMapped) {
  const std::string dax = dax_folder();
  if (dax.empty()) GTEST_SKIP() << "no file system is mounted with DAX here";
  const Folder folder(dax);
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_TRUE(files.dax());
  ASSERT_TRUE(files.byte_addressable());
  files.use_copy(load_pmem_copy(files.dax()));
  const int fd = files.create().value();
  ASSERT_FALSE(files.reserve(fd, 0, kExtentSize));
  char* mapping = files.map(fd);
  ASSERT_NE(mapping, nullptr);
  const std::vector<char> page = noise(kPageSize);
  files.copy_out(mapping + kPageSize, page.data(), kPageSize);
  std::vector<char> seen(kPageSize);
  EXPECT_EQ(pread(fd, seen.data(), kPageSize, kPageSize), static_cast<ssize_t>(kPageSize));
  EXPECT_TRUE(seen == page);
  files.unmap(mapping);
  files.close(fd);
}

TEST(TierFiles, CopiesAnySize) {
  LinuxTierFiles files;
  expect_copies(files);
}

// With PMEM2_FORCE_GRANULARITY as the test wants it, and as it was afterwards.
class PmemCopyTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = getenv(kForce)) before_ = value;
    unsetenv(kForce);
  }
  void TearDown() override { before_.empty() ? unsetenv(kForce) : setenv(kForce, before_.c_str(), 1); }
  static constexpr const char* kForce = "PMEM2_FORCE_GRANULARITY";

 private:
  std::string before_;
};

TEST_F(PmemCopyTest, OnlyForPersistentMemory) {
  EXPECT_EQ(load_pmem_copy(false), nullptr);
  setenv(kForce, "PAGE", 1);
  EXPECT_EQ(load_pmem_copy(true), nullptr) << "libpmem2's copy to pages calls msync";
  const PmemCopy copy = (unsetenv(kForce), load_pmem_copy(true));
  if (!copy) GTEST_SKIP() << "libpmem2.so.1 is not installed, or this is built without it";
  for (const char* forced : {"CACHE_LINE", "byte"}) {
    setenv(kForce, forced, 1);
    EXPECT_EQ(load_pmem_copy(false), copy) << forced;
  }
}

TEST_F(PmemCopyTest, CopiesAnySize) {
  LinuxTierFiles files;
  const PmemCopy copy = load_pmem_copy(true);
  if (!copy) GTEST_SKIP() << "libpmem2.so.1 is not installed, or this is built without it";
  files.use_copy(copy);
  expect_copies(files);
}

// The library's own way to ask about a mapping changes the folder of all threads for a moment: chdir is deadly here.
TEST_F(PmemCopyTest, LeavesTheProgramItsFolder) {
  const pid_t child = fork();
  if (child == 0) {
    sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chdir, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchdir, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const sock_fprog filter = {sizeof rules / sizeof rules[0], rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
      _exit(77);
    _exit(load_pmem_copy(true) ? 0 : 78);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this system does not allow seccomp filters";
  if (WEXITSTATUS(status) == 78) GTEST_SKIP() << "libpmem2.so.1 is not installed, or this is built without it";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

struct OneCopy {
  LinuxTierFiles files;
  std::vector<char> from = noise(kExtentSize);
  char* to = static_cast<char*>(aligned_alloc(kPageSize, kExtentSize));
  std::atomic<uint32_t> done{0};
  ~OneCopy() { free(to); }
};

// As the pager's thread does it.
TEST_F(PmemCopyTest, CopiesInAThreadThatLibcDoesNotKnow) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need threads that libc knows";
#endif
  OneCopy one;
  const PmemCopy copy = load_pmem_copy(true);
  if (!copy) GTEST_SKIP() << "libpmem2.so.1 is not installed, or this is built without it";
  one.files.use_copy(copy);
  const auto started = start_thread(
      "ebb-test",
      [](void* argument) {
        OneCopy& mine = *static_cast<OneCopy*>(argument);
        mine.files.copy_out(mine.to, mine.from.data(), kExtentSize);
        mine.done.store(1);
        futex_wake(mine.done, 1);
        for (;;) raw_syscall(SYS_exit, 0);
      },
      &one);
  ASSERT_TRUE(started.ok());
  while (one.done.load() == 0) futex_wait(one.done, 0);
  EXPECT_EQ(memcmp(one.to, one.from.data(), kExtentSize), 0);
}

bool shm_is_tmpfs() {
  struct statfs fs = {};
  return statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

TEST(TierFiles, MemoryIsReadAndWrittenByCalls) {
  if (!shm_is_tmpfs()) GTEST_SKIP() << "/dev/shm is not a tmpfs here";
  const Folder folder("/dev/shm");
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_TRUE(files.byte_addressable());
  const int fd = files.create().value();
  EXPECT_EQ(files.map(fd), nullptr);
  const std::vector<char> page = noise(3 * kPageSize);
  ASSERT_FALSE(files.write(fd, kPageSize, page.data(), page.size(), Cache::kThrough));
  std::vector<char> seen(page.size());
  ASSERT_FALSE(files.read(fd, kPageSize, seen.data(), seen.size()));
  EXPECT_TRUE(seen == page);
  EXPECT_EQ(files.read(fd, 2 * kPageSize, seen.data(), seen.size()), Errno{EIO}) << "the file ends before";
  files.close(fd);
  EXPECT_EQ(files.write(fd, 0, page.data(), kPageSize, Cache::kThrough), Errno{EBADF});
}

// Processes that share a file since a fork name it at the same time: none may find a part of the copy under the name.
TEST(TierFiles, ACopyForAnotherFileSystemHasItsNameOnlyWhenItIsWhole) {
  if (!shm_is_tmpfs()) GTEST_SKIP() << "/dev/shm is not a tmpfs here";
  const Folder disk(testing::TempDir()), memory("/dev/shm");
  struct stat a = {}, b = {};
  if (stat(disk.path(), &a) == 0 && stat(memory.path(), &b) == 0 && a.st_dev == b.st_dev)
    GTEST_SKIP() << "the folder for temporary files is on /dev/shm";
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(disk.path()));
  const int fd = files.create().value();
  const std::vector<char> data = noise(16 * kExtentSize);
  const std::unique_ptr<void, decltype(&free)> aligned(aligned_alloc(kPageSize, data.size()), &free);  // for O_DIRECT
  memcpy(aligned.get(), data.data(), data.size());
  ASSERT_FALSE(files.write(fd, kExtentSize, static_cast<const char*>(aligned.get()), data.size(), Cache::kThrough));
  std::vector<std::thread> threads;
  std::atomic<int> whole{0};
  std::atomic<uint64_t> name{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const auto named = files.name(fd, memory.path());
      if (!named.ok()) return;
      name = named.value();
      const auto copy = files.reopen(memory.path(), named.value(), true);
      std::vector<char> seen(data.size());
      if (!copy.ok()) return;
      whole += !files.read(copy.value(), kExtentSize, seen.data(), seen.size()) && seen == data;
      files.close(copy.value());
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(whole, 4);
  EXPECT_EQ(memory.entries(), 1u);
  char text[17];
  snprintf(text, sizeof text, "%016lx", static_cast<unsigned long>(name.load()));
  EXPECT_EQ(unlink((std::string(memory.path()) + "/" + text).c_str()), 0);
  files.close(fd);
}

// As a stand-in for persistent memory.
TEST_F(PmemCopyTest, MemoryIsMappedOnRequest) {
  if (!shm_is_tmpfs()) GTEST_SKIP() << "/dev/shm is not a tmpfs here";
  const Folder folder("/dev/shm");
  LinuxTierFiles files;
  ASSERT_FALSE(files.open(folder.path()));
  EXPECT_TRUE(files.byte_addressable());
  EXPECT_FALSE(files.dax());
  setenv(kForce, "CACHE_LINE", 1);
  const PmemCopy copy = load_pmem_copy(files.dax());
  if (!copy) GTEST_SKIP() << "libpmem2.so.1 is not installed, or this is built without it";
  files.use_copy(copy);
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
