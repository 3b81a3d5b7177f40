// Checklist 28: SIGPROF a thousand times a second, whose handler walks through cold memory, while threads fault all the
// time. run: dram=32M cold
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <thread>

#include "cold.h"

namespace {

constexpr size_t kBytes = size_t{48} << 20;
char* g_walked;
std::atomic<size_t> g_at{0};
std::atomic<unsigned> g_ticks{0}, g_wrong{0};

void on_tick(int) {
  const size_t at = g_at.fetch_add(37 * PAGE) % kBytes / PAGE * PAGE;
  if (*reinterpret_cast<uint64_t*>(g_walked + at) != at + 1) ++g_wrong;
  ++g_ticks;
}

}  // namespace

int main() {
  g_walked = cold_map(kBytes);
  for (size_t at = 0; at < kBytes; at += PAGE) *reinterpret_cast<uint64_t*>(g_walked + at) = at + 1;
  struct sigaction action = {};
  action.sa_handler = on_tick;
  action.sa_flags = SA_RESTART;
  EXPECT(sigaction(SIGPROF, &action, nullptr) == 0);
  const itimerval every = {{0, 1000}, {0, 1000}};
  EXPECT(setitimer(ITIMER_PROF, &every, nullptr) == 0);
  auto work = [](uint64_t id) {
    char* p = cold_map(kBytes);
    for (uint64_t round = 0; round < 3 || (id == 0 && g_ticks < 200); ++round) {
      cold_fill(p, kBytes, id + round);
      EXPECT_FILLED(p, kBytes, id + round);
      EXPECT(madvise(p, kBytes / 2, MADV_DONTNEED) == 0);
      std::free(escape(std::malloc(3 << 20)));
    }
  };
  std::thread other(work, 1000);
  work(0);
  other.join();
  const itimerval never = {};
  EXPECT(setitimer(ITIMER_PROF, &never, nullptr) == 0);
  EXPECT(g_ticks >= 200 && g_wrong == 0);
  puts("ok");
  return 0;
}
