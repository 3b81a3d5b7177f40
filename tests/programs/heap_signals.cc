// Checklist 28: signals a thousand times a second whose handler maps and unmaps memory, while threads allocate.
#include <sys/mman.h>
#include <sys/time.h>
#include <csignal>

#include <atomic>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

std::atomic<int> g_signals{0};
std::atomic<int> g_failed{0};

void handler(int) {
  void* p = mmap(nullptr, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || static_cast<char*>(p)[5000] != 0) ++g_failed;
  static_cast<char*>(p)[5000] = 1;
  if (munmap(p, 2 << 20) != 0) ++g_failed;
  ++g_signals;
}

void work() {
  std::vector<char*> block(64);
  for (unsigned i = 0; g_signals.load(std::memory_order_relaxed) < 300; ++i) {
    char*& p = block[i % 64];
    std::free(p);
    p = static_cast<char*>(std::malloc(i % 7 == 0 ? 200000 : i % 3000 + 1));
    EXPECT(p);
    *p = 1;
  }
  for (char* p : block) std::free(p);
}

}  // namespace

int main() {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  EXPECT(sigaction(SIGPROF, &action, nullptr) == 0);
  const itimerval every = {{0, 1000}, {0, 1000}}, never = {};
  EXPECT(setitimer(ITIMER_PROF, &every, nullptr) == 0);
  grow_process();
  std::thread a(work), b(work);
  work();
  a.join();
  b.join();
  EXPECT(setitimer(ITIMER_PROF, &never, nullptr) == 0);
  EXPECT(g_failed == 0);
  puts("ok");
  return 0;
}
