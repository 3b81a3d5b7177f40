// Checklist 19: what glibc itself touches inside fork (open streams, its name service's state) is cold at that moment:
// the fork returns, and the child asks for names and writes to the streams.
// run: dram=32M cold
#include <pwd.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "cold.h"

namespace {
constexpr int kRounds = 5, kStreams = 8;
std::atomic<bool> g_end{false};
}  // namespace

int main() {
  const size_t bytes = 3 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  // Grown: from here on, libc's own blocks are managed memory, too.
  std::vector<void*> small;
  for (int i = 0; i < 40'000; ++i) small.push_back(std::malloc(1000));
  const bool named = getpwuid(0) != nullptr;
  FILE* streams[kStreams];
  for (FILE*& f : streams) {
    f = std::tmpfile();
    EXPECT(f != nullptr);
    std::fputs("parent\n", f);
  }
  for (int i = 0; i < 40'000; ++i) small.push_back(std::malloc(1000));
  // With a second thread glibc's fork locks and copies its state.
  std::thread second([] {
    while (!g_end.load()) usleep(1000);
  });
  for (int round = 0; round < kRounds; ++round) {
    // Everything but the streams and the names is touched, several times over.
    for (int k = 0; k < 3; ++k) EXPECT_FILLED(p, bytes, 1);
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      EXPECT((getpwuid(0) != nullptr) == named);
      for (FILE* f : streams) {
        EXPECT(std::fputs("child\n", f) >= 0);
        EXPECT(std::fflush(f) == 0);
      }
      _exit(0);
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT(status == 0);
  }
  g_end = true;
  second.join();
  std::puts("ok");
}
