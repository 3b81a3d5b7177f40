// Checklist 9: threads allocate while modules with thread-local variables come: each new module makes the loader
// allocate inside the other threads' next access to a thread-local variable.
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

std::atomic<bool> g_stop{false};

int find_library(dl_phdr_info* info, size_t, void* out) {
  if (std::strstr(info->dlpi_name, "libstdc++.so") == nullptr) return 0;
  *static_cast<std::string*>(out) = info->dlpi_name;
  return 1;
}

void allocate_all_the_time() {
  std::vector<void*> block(64);
  for (unsigned i = 0; !g_stop.load(std::memory_order_relaxed); ++i) {
    std::free(block[i % 64]);
    block[i % 64] = std::malloc(i % 5000);
    EXPECT(block[i % 64]);
  }
  for (void* p : block) std::free(p);
}

}  // namespace

int main() {
  // Copies of a library that has thread-local variables, each a module of its own.
  std::string path;
  dl_iterate_phdr(find_library, &path);
  EXPECT(!path.empty());
  std::string image;
  FILE* file = std::fopen(path.c_str(), "rb");
  EXPECT(file);
  char buffer[65536];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) image.append(buffer, n);
  std::fclose(file);

  grow_process();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(allocate_all_the_time);
  for (int i = 0; i < 30; ++i) {
    const int fd = memfd_create("module", 0);
    EXPECT(fd >= 0 && write(fd, image.data(), image.size()) == static_cast<ssize_t>(image.size()));
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    EXPECT(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL));
    std::free(escape(std::malloc(100)));
  }
  g_stop = true;
  for (auto& t : threads) t.join();
  puts("ok");
  return 0;
}
