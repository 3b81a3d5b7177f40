// Rules: see hash_pool.h.
#include "pager/hash_pool.h"

#include <sys/mman.h>
#include <new>

#include "base/syscall.h"

namespace ebb {
namespace {
constexpr uint64_t kChunkArrays = 255;
}  // namespace

PageHash* HashPool::take() {
  if (free_) {
    Free* const found = free_;
    free_ = found->next;
    __builtin_memset(static_cast<void*>(found), 0, kArray);
    return reinterpret_cast<PageHash*>(found);
  }
  if (fresh_ == fresh_end_ && !reserve(kChunkArrays)) return nullptr;
  char* const found = fresh_;
  fresh_ += kArray;
  return reinterpret_cast<PageHash*>(found);
}

void HashPool::give_back(PageHash* hashes) { free_ = new (hashes) Free{free_}; }

bool HashPool::reserve(uint64_t count) {
  if (static_cast<uint64_t>(fresh_end_ - fresh_) / kArray >= count) return true;
  const uint64_t bytes = (count + 1) * kArray;
  const long r =
      raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(r)) return false;
  for (; fresh_ < fresh_end_; fresh_ += kArray) give_back(reinterpret_cast<PageHash*>(fresh_));
  char* const chunk = reinterpret_cast<char*>(r);
  chunks_ = new (chunk) Chunk{chunks_, bytes};
  fresh_ = chunk + kArray;
  fresh_end_ = chunk + bytes;
  used_ += Bytes{bytes};
  return true;
}

void HashPool::drop_all() {
  while (Chunk* const chunk = chunks_) {
    const uint64_t bytes = chunk->bytes;
    chunks_ = chunk->next;
    raw_syscall(SYS_munmap, as_arg(chunk), static_cast<long>(bytes));
  }
  *this = {};
}

}  // namespace ebb
