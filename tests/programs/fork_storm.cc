// Checklist 19: 200 forks under four threads that map, write, verify and unmap memory beyond the budget.
// run: dram=32M cold timeout=100
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "cold.h"

namespace {

std::atomic<bool> g_stop{false};

void work(uint64_t seed) {
  constexpr size_t kRegions = 6;
  const size_t bytes = MIB + seed * PAGE;
  std::vector<char*> region(kRegions);
  std::vector<uint64_t> filled(kRegions);
  for (uint64_t i = 0; !g_stop.load(std::memory_order_relaxed); ++i) {
    char*& p = region[i % kRegions];
    if (p) {
      EXPECT_FILLED(p, bytes, filled[i % kRegions]);
      EXPECT(munmap(p, bytes) == 0);
    }
    p = cold_map(bytes);
    filled[i % kRegions] = seed * 1000000 + i;
    cold_fill(p, bytes, filled[i % kRegions]);
    std::free(escape(std::malloc(100 + i % 3000)));
    // On two processors the forking thread would hardly ever run.
    if (i % 4 == 0) std::this_thread::yield();
  }
  for (size_t k = 0; k < kRegions; ++k)
    if (region[k]) EXPECT_FILLED(region[k], bytes, filled[k]);
}

}  // namespace

int main() {
  constexpr size_t kBytes = 8 << 20;
  char* still = cold_make(kBytes, 1);
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i <= 4; ++i) threads.emplace_back(work, i);
  for (unsigned i = 0; i < 200; ++i) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      alarm(60);
      const size_t part = (i % 8) * MIB;
      EXPECT_FILLED_FROM(still + part, MIB, 1, part);
      cold_fill(still + part, MIB, i);
      std::free(escape(std::malloc(2 << 20)));
      EXPECT_FILLED(still + part, MIB, i);
      _exit(0);
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  }
  g_stop = true;
  for (auto& t : threads) t.join();
  EXPECT_FILLED(still, kBytes, 1);
  puts("ok");
  return 0;
}
