/* run: timeout=150 */
// Checklist 19: 60 forks while four threads allocate; every child allocates, forks once more itself and ends.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

std::atomic<bool> g_stop{false};

void allocate_all_the_time(unsigned seed) {
  std::vector<char*> block(128);
  for (unsigned i = seed; !g_stop.load(std::memory_order_relaxed); ++i) {
    char*& p = block[i * 7 % 128];
    std::free(p);
    const size_t bytes = (i * 2654435761u >> 16) % (i % 50 == 0 ? 300000 : 2000) + 1;
    p = static_cast<char*>(std::malloc(bytes));
    EXPECT(p);
    p[0] = p[bytes - 1] = 1;
  }
  for (char* p : block) std::free(p);
}

int child() {
  for (int i = 0; i < 500; ++i) std::free(escape(std::malloc(static_cast<size_t>(i) * 13)));
  std::free(escape(std::malloc(2 << 20)));
  const pid_t pid = fork();
  if (pid == 0) _exit(std::malloc(5000) ? 0 : 1);
  int status = 1;
  waitpid(pid, &status, 0);
  return status;
}

}  // namespace

int main() {
  grow_process();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(allocate_all_the_time, i * 1000);
  for (int i = 0; i < 60; ++i) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      alarm(60);
      _exit(child());
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  }
  g_stop = true;
  for (auto& t : threads) t.join();
  puts("ok");
  return 0;
}
