// Checklist 5 and 9: small blocks that four threads allocate, hand over, resize and free keep their contents; forks in
// between, short threads whose destructors still free, late destructors that still allocate.
/* run: dram=64M timeout=120 */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

struct Block {
  unsigned char* at;
  size_t bytes;
  unsigned char mark;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  size_t below(size_t n) {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return static_cast<size_t>(state_ >> 8) % n;
  }
  size_t size() {
    const size_t kind = below(100);
    return 1 + below(kind < 60 ? 1200 : kind < 85 ? 20000 : kind < 98 ? 300000 : 3000000);
  }

 private:
  uint64_t state_;
};

constexpr size_t kEdge = 4096;  // of a large block only so much at either end is marked

void fill(const Block& b) {
  std::memset(b.at, b.mark, b.bytes < kEdge ? b.bytes : kEdge);
  if (b.bytes > kEdge) std::memset(b.at + b.bytes - kEdge, b.mark, kEdge);
}
void check(const Block& b) {
  for (size_t i = 0; i < b.bytes && i < kEdge; ++i) EXPECT(b.at[i] == b.mark);
  for (size_t i = b.bytes > kEdge ? b.bytes - kEdge : b.bytes; i < b.bytes; ++i) EXPECT(b.at[i] == b.mark);
  EXPECT(malloc_usable_size(b.at) >= b.bytes);
}

Block make(Random& random) {
  Block b = {nullptr, random.size(), static_cast<unsigned char>(random.below(256))};
  void* p = nullptr;
  switch (random.below(6)) {
    case 0:
      p = std::calloc(1, b.bytes);
      for (size_t i = 0; i < b.bytes; i += b.bytes < kEdge ? 1 : 97) EXPECT(static_cast<char*>(p)[i] == 0);
      break;
    case 1: {
      const size_t alignment = size_t{16} << random.below(10);
      EXPECT(posix_memalign(&p, alignment, b.bytes) == 0 && reinterpret_cast<uintptr_t>(p) % alignment == 0);
      break;
    }
    default:
      p = std::malloc(b.bytes);
  }
  EXPECT(p && reinterpret_cast<uintptr_t>(p) % 16 == 0);
  b.at = static_cast<unsigned char*>(p);
  fill(b);
  return b;
}

std::mutex g_lock;
std::vector<Block> g_handed_over;

void end(Random& random, Block b) {
  if (random.below(4) == 0) {  // to be freed by whoever comes next
    std::lock_guard guard(g_lock);
    g_handed_over.push_back(b);
    if (g_handed_over.size() <= 100) return;
    std::swap(g_handed_over[random.below(100)], g_handed_over.back());
    b = g_handed_over.back();
    g_handed_over.pop_back();
  }
  check(b);
  std::memset(b.at, 0xEE, b.bytes < 64 ? b.bytes : 64);  // what a list through free blocks must not mind
  std::free(b.at);
}

void resize(Random& random, Block& b) {
  const size_t old = b.bytes, wanted = random.size();
  b.at = static_cast<unsigned char*>(std::realloc(b.at, wanted));
  EXPECT(b.at);
  for (size_t i = 0; i < old && i < wanted && i < kEdge; ++i) EXPECT(b.at[i] == b.mark);
  b.bytes = wanted;
  fill(b);
}

void fork_once(std::vector<Block>& mine) {
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    alarm(60);
    for (int i = 0; i < 3000; ++i) std::free(escape(std::malloc(static_cast<size_t>(i) * 7 + 1)));
    for (const Block& b : mine) check(b), std::free(b.at);
    _exit(0);
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

void work(unsigned seed) {
  Random random(seed);
  std::vector<Block> mine;
  for (int i = 0; i < 25000; ++i) {
    if (mine.size() < 300 || random.below(2)) mine.push_back(make(random));
    if (mine.size() > 300) {
      std::swap(mine[random.below(mine.size())], mine.back());
      if (random.below(4) == 0) {
        resize(random, mine.back());
      } else {
        end(random, mine.back());
        mine.pop_back();
      }
    }
    if (seed == 0 && i % 10000 == 777) fork_once(mine);
  }
  for (const Block& b : mine) check(b), std::free(b.at);
}

struct Late {
  std::vector<void*> blocks;
  ~Late() {
    for (void* p : blocks) std::free(p);
    std::free(escape(std::malloc(100)));
  }
};
thread_local Late t_late;

}  // namespace

int main() {
  grow_process();
  pthread_key_t key;
  EXPECT(pthread_key_create(&key, [](void* p) {
           std::free(p);
           std::free(escape(std::malloc(500)));
         }) == 0);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(work, i);
  for (auto& t : threads) t.join();
  for (int i = 0; i < 1000; ++i) {
    std::thread([&] {
      t_late.blocks.push_back(std::malloc(64));
      EXPECT(pthread_setspecific(key, std::malloc(300)) == 0);
      for (size_t j = 0; j < 40; ++j) std::free(escape(std::malloc(j * 1000 + 1)));
    }).join();
  }
  puts("ok");
  return 0;
}
