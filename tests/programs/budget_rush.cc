// Two threads touch new memory as fast as they can, six times the budget, and give it back, three times over.
// run: cold
#include <thread>

#include "cold.h"

int main() {
  const size_t bytes = 3 * cold_dram();
  auto rush = [=](uint64_t id) {
    for (int round = 0; round < 3; ++round) {
      char* p = cold_map(bytes);
      for (size_t at = 0; at < bytes; at += PAGE) *reinterpret_cast<uint64_t*>(p + at) = at + id;
      for (size_t at = 0; at < bytes; at += PAGE) EXPECT(*reinterpret_cast<uint64_t*>(p + at) == at + id);
      EXPECT(munmap(p, bytes) == 0);
    }
  };
  std::thread other(rush, 7);
  rush(5);
  other.join();
  puts("ok");
  return 0;
}
