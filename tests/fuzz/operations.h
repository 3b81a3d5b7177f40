// The operations of the fuzzer: one struct each, with its weight and Perform(), which does the system call and tells
// the model. A thread has a World of its own; regions are never shared by threads (thread_*.cc of tests/programs do
// that), but their address space, the pager and the budget are.
#pragma once

#include <memory>
#include <random>
#include <vector>

#include "region.h"

namespace fuzz {

struct HeapBlock {
  unsigned char* p;
  size_t bytes;
  unsigned char mark;
};

struct World {
  uint64_t seed = 0;
  size_t most_pages = 0;  // of all regions of this thread
  size_t pages = 0;
  uint32_t next_id = 0;
  int file = -1;         // with a page pattern of region 0 in it, for read(2)
  bool may_fork = true;  // not in a child
  std::mt19937_64 random;
  std::vector<std::unique_ptr<Region>> regions;
  std::vector<HeapBlock> blocks;

  size_t below(size_t n) { return n ? static_cast<size_t>(random() % n) : 0; }
  Region* any() { return regions.empty() ? nullptr : regions[below(regions.size())].get(); }
  // A run of pages in a region: mostly short, now and then all of it.
  struct Run {
    size_t first, count;
  };
  Run run_in(const Region& r) {
    const size_t most = below(8) == 0 ? r.size() : below(8) == 0 ? 1024 : 40;
    const size_t first = below(r.size());
    const size_t left = r.size() - first;
    return {first, 1 + below(left < most ? left : most)};
  }
};

struct Operation {
  const char* name;
  unsigned weight;
  void (*perform)(World&);
};

// All of them; the last has weight 0.
extern const Operation kOperations[];

// Maps, at the start of a thread, until the world is as full as it may be.
void fill(World& w);
void check_all(World& w);
void release(World& w);

}  // namespace fuzz
