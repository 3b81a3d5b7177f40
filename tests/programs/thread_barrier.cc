// Checklist 17: a write barrier by mprotect and SIGSEGV, as garbage collectors have, on memory that comes and goes.
// run: dram=32M cold
#include <signal.h>

#include <atomic>
#include <thread>

#include "cold.h"

namespace {

constexpr size_t kBytes = size_t{48} << 20, kCard = 16 * 4096;
char* g_p;
std::atomic<uint32_t> g_dirty[kBytes / kCard];

void on_fault(int, siginfo_t* info, void*) {
  const size_t at = static_cast<size_t>(static_cast<char*>(info->si_addr) - g_p);
  if (at >= kBytes) _exit(99);
  g_dirty[at / kCard] = 1;
  if (mprotect(g_p + at / kCard * kCard, kCard, PROT_READ | PROT_WRITE) != 0) _exit(98);
}

}  // namespace

int main() {
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  EXPECT(sigaction(SIGSEGV, &action, nullptr) == 0);
  g_p = cold_map(kBytes);
  cold_fill(g_p, kBytes, 1);
  for (uint64_t round = 1; round <= 5; ++round) {
    EXPECT(mprotect(g_p, kBytes, PROT_READ) == 0);
    for (auto& card : g_dirty) card = 0;
    auto write = [&](size_t first) {
      for (size_t at = first * kCard; at < kBytes; at += 6 * kCard) *reinterpret_cast<uint64_t*>(g_p + at) += round;
    };
    std::thread other(write, 3);
    write(0);
    other.join();
    for (size_t card = 0; card < kBytes / kCard; ++card) EXPECT(g_dirty[card] == (card % 3 == 0));
  }
  EXPECT(mprotect(g_p, kBytes, PROT_READ | PROT_WRITE) == 0);
  for (size_t at = 0; at < kBytes; at += kCard) {
    EXPECT(*reinterpret_cast<uint64_t*>(g_p + at) == cold_word(1, at / 8) + (at / kCard % 3 == 0 ? 15 : 0));
    EXPECT_FILLED_FROM(g_p + at + 8, kCard - 8, 1, at + 8);
  }
  puts("ok");
  return 0;
}
