// Usable memory: machines made of a few files in a temporary folder.
#include "tools/memory.h"

#include <gtest/gtest.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace ebb::tools {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() {
    char name[] = "/tmp/ebb-memory-XXXXXX";
    root_ = mkdtemp(name);
    write("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   8388608 kB\n");
  }
  ~MemoryTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ + path).substr(0, (root_ + path).rfind('/')));
    std::ofstream(root_ + path) << text;
  }
  MemoryFacts read(std::optional<Bytes> slurm = {}) { return read_memory(SystemFiles(root_), slurm); }
  void use_v2(const std::string& path) {
    write("/proc/self/cgroup", "0::" + path + "\n");
    write("/proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
  }
  std::string root_;
};

TEST_F(MemoryTest, WithoutCgroupTheMachineIsTheLimit) {
  const auto facts = read();
  EXPECT_EQ(facts.usable.count, 16 * kGiB);
  EXPECT_EQ(facts.available.count, 8 * kGiB);
  EXPECT_EQ(facts.limited_by, "");
  EXPECT_EQ(facts.cgroup_version, 0);
}

TEST_F(MemoryTest, TightestLimitOfTheV2HierarchyCounts) {
  use_v2("/slurm/job_1");
  write("/sys/fs/cgroup/slurm/memory.max", "4294967296\n");
  write("/sys/fs/cgroup/slurm/memory.current", "3221225472\n");
  write("/sys/fs/cgroup/slurm/memory.stat", "anon 5\ninactive_file 1073741824\n");
  write("/sys/fs/cgroup/slurm/memory.swap.max", "0\n");
  write("/sys/fs/cgroup/slurm/job_1/memory.max", "max\n");
  const auto facts = read();
  EXPECT_EQ(facts.usable.count, 4 * kGiB);
  EXPECT_EQ(facts.available.count, 2 * kGiB);  // 3 of 4 GiB used, 1 of it droppable
  EXPECT_EQ(facts.limited_by, "cgroup");
  EXPECT_EQ(facts.cgroup_path, "/sys/fs/cgroup/slurm");
  EXPECT_EQ(facts.cgroup_swap->count, 0u);
}

TEST_F(MemoryTest, MemoryHighLimitsLikeMemoryMax) {
  use_v2("/a");
  write("/sys/fs/cgroup/a/memory.max", "4294967296\n");
  write("/sys/fs/cgroup/a/memory.high", "1073741824\n");
  EXPECT_EQ(read().usable.count, kGiB);
}

TEST_F(MemoryTest, ReadsV1BelowAPartialMount) {
  write("/proc/self/cgroup", "4:memory:/docker/abc/job\n3:cpu:/\n0::/elsewhere\n");
  write("/proc/self/mountinfo",
        "31 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "37 30 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2147483648\n");
  write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1073741824\n");
  write("/sys/fs/cgroup/memory/job/memory.memsw.limit_in_bytes", "3221225472\n");
  const auto facts = read();
  EXPECT_EQ(facts.cgroup_version, 1);
  EXPECT_EQ(facts.usable.count, 2 * kGiB);
  EXPECT_EQ(facts.available.count, kGiB);
  EXPECT_EQ(facts.cgroup_swap->count, kGiB);
}

TEST_F(MemoryTest, UsageAboveTheLimitLeavesNothing) {
  use_v2("/a");
  write("/sys/fs/cgroup/a/memory.max", "1073741824\n");
  write("/sys/fs/cgroup/a/memory.current", "2147483648\n");
  EXPECT_EQ(read().available.count, 0u);
}

TEST_F(MemoryTest, SlurmsGrantCountsWhenItIsTighter) {
  EXPECT_EQ(read(Bytes{2 * kGiB}).usable.count, 2 * kGiB);
  EXPECT_EQ(read(Bytes{2 * kGiB}).limited_by, "Slurm");
  EXPECT_EQ(read(Bytes{64 * kGiB}).usable.count, 16 * kGiB);
}

TEST(SlurmGrantTest, PerNodeThenPerCpu) {
  EXPECT_EQ(slurm_grant("1024", "5", "7")->count, kGiB);
  EXPECT_EQ(slurm_grant(nullptr, "512", "4")->count, 2 * kGiB);
  EXPECT_FALSE(slurm_grant("0", nullptr, nullptr));  // all of the node
  EXPECT_FALSE(slurm_grant("lots", nullptr, "4"));
  EXPECT_FALSE(slurm_grant(nullptr, "512", nullptr));
}

TEST(SystemFilesTest, SplitsAndParses) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(split("", ',').empty());
  EXPECT_EQ(parse_number("-12"), -12);
  EXPECT_FALSE(parse_number("12x"));
  EXPECT_FALSE(parse_number(""));
  EXPECT_EQ(trimmed(" a b\n"), "a b");
}

}  // namespace
}  // namespace ebb::tools
