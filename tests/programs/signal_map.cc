// Checklist 28: handlers that map, fill, protect and unmap memory interrupt code that does the same.
// run: dram=32M cold
#include <signal.h>
#include <sys/time.h>

#include <atomic>

#include "cold.h"

namespace {

std::atomic<unsigned> g_ticks{0};

void use(uint64_t seed) {
  const size_t bytes = MIB + seed % 60 * PAGE;
  char* p = cold_map(bytes);
  cold_fill(p, bytes, seed);
  EXPECT(mprotect(p, MIB / 2, PROT_READ) == 0);
  EXPECT_FILLED(p, bytes, seed);
  EXPECT(munmap(p, bytes) == 0);
}

void on_tick(int) { use(1000000 + ++g_ticks); }

}  // namespace

int main() {
  const size_t bytes = 2 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  struct sigaction action = {};
  action.sa_handler = on_tick;
  action.sa_flags = SA_RESTART;
  EXPECT(sigaction(SIGALRM, &action, nullptr) == 0);
  const itimerval every = {{0, 20000}, {0, 20000}};
  EXPECT(setitimer(ITIMER_REAL, &every, nullptr) == 0);
  for (uint64_t i = 0; i < 200 || g_ticks < 30; ++i) {
    use(i);
    const size_t at = i * MIB % (bytes / MIB * MIB);
    EXPECT_FILLED_FROM(p + at, MIB, 1, at);
  }
  const itimerval never = {};
  EXPECT(setitimer(ITIMER_REAL, &never, nullptr) == 0);
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
