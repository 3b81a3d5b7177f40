// HashPool: memory for the hashes of extents, 512 each. Apart from the arena, so that a snapshot can be taken without
// it: what the store has a copy of is dropped as a whole then (see Pager::map_store()).
//
// Guarded by the state lock. No allocation but mappings of its own.
#pragma once

#include "base/hash.h"
#include "base/page_set.h"
#include "base/units.h"

namespace ebb {

class HashPool {
 public:
  // 512 zeros; null when the kernel refuses.
  PageHash* take();
  void give_back(PageHash* hashes);
  // Has room for so many more from now on, so that take() does not fail. False: no memory.
  bool reserve(uint64_t count);
  // Frees everything: nothing that was taken is there any more.
  void drop_all();
  // In use, or kept for later.
  Bytes used() const { return used_; }

 private:
  struct Chunk {
    Chunk* next;
    uint64_t bytes;
  };
  struct Free {
    Free* next;
  };
  static constexpr uint64_t kArray = kPagesPerExtent * sizeof(PageHash);
  static_assert(kArray == kPageSize);

  Chunk* chunks_ = nullptr;  // each begins with a page of its own for this
  Free* free_ = nullptr;
  char* fresh_ = nullptr;  // never used, of the newest chunk
  char* fresh_end_ = nullptr;
  Bytes used_{};
};

}  // namespace ebb
