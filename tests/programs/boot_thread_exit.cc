// Checklist 8: malloc and free in the destructors of thread-local variables and of pthread keys, in threads that
// began before and after the process had grown.
#include <pthread.h>

#include <thread>
#include <vector>

#include "expect.h"

namespace {

pthread_key_t g_key;

struct Holder {
  std::vector<char*> blocks;
  ~Holder() {
    for (char* p : blocks) std::free(p);
    for (int i = 0; i < 1000; ++i) std::free(escape(std::malloc(static_cast<size_t>(i))));
    std::free(escape(std::malloc(2 << 20)));
  }
};

void key_destructor(void* p) {
  std::free(p);
  for (int i = 0; i < 1000; ++i) std::free(escape(std::malloc(static_cast<size_t>(i))));
  static thread_local int again = 0;
  if (++again < 3) EXPECT(pthread_setspecific(g_key, std::malloc(64)) == 0);
}

void work() {
  thread_local Holder holder;
  EXPECT(pthread_setspecific(g_key, std::malloc(64)) == 0);
  for (int i = 0; i < 3000; ++i) holder.blocks.push_back(static_cast<char*>(std::malloc(static_cast<size_t>(i) + 1)));
}

void round() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back(work);
  for (auto& t : threads) t.join();
}

}  // namespace

int main() {
  EXPECT(pthread_key_create(&g_key, key_destructor) == 0);
  for (int i = 0; i < 10; ++i) round();
  grow_process();
  for (int i = 0; i < 30; ++i) round();
  puts("ok");
  return 0;
}
