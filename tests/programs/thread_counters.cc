// Threads add to counters all over three times the budget; afterwards no addition is missing.
// run: dram=32M cold
#include <atomic>
#include <thread>
#include <vector>

#include "cold.h"

int main() {
  constexpr uint64_t kThreads = 4, kRounds = 150000;
  const size_t pages = 3 * cold_dram() / PAGE;
  auto* words = reinterpret_cast<uint64_t*>(cold_map(pages * PAGE));
  std::vector<std::thread> threads;
  for (uint64_t id = 0; id < kThreads; ++id)
    threads.emplace_back([=] {
      uint64_t s = id + 99;
      for (uint64_t i = 0; i < kRounds; ++i) {
        s ^= s << 13, s ^= s >> 7, s ^= s << 17;
        // Mostly a window that moves on, now and then anywhere.
        const size_t page = i % 4 ? (i / 16 + s % 64) % pages : s % pages;
        std::atomic_ref<uint64_t>(words[page * 512 + 8]).fetch_add(1);  // all threads
        ++words[page * 512 + 64 + id];                                  // this one's own
      }
    });
  for (auto& t : threads) t.join();
  uint64_t shared = 0, own = 0;
  for (size_t page = 0; page < pages; ++page) {
    shared += words[page * 512 + 8];
    for (uint64_t id = 0; id < kThreads; ++id) own += words[page * 512 + 64 + id];
  }
  printf("%llu %llu\n", static_cast<unsigned long long>(shared), static_cast<unsigned long long>(own));
  EXPECT(shared == kThreads * kRounds && own == kThreads * kRounds);
  return 0;
}
