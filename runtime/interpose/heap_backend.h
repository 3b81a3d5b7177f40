// The general-purpose allocator that a grown process gets: memkind's default kind (heap_memkind.cc), or none
// (heap_none.cc, chosen by -DEBB_MEMKIND=OFF): then small objects stay with glibc for good and only large ones are
// managed.
#pragma once

#include <cstddef>

namespace ebb::heap {

struct Backend {
  void* kind = nullptr;
  void* (*allocate)(void* kind, size_t bytes) = nullptr;
  void* (*allocate_zeroed)(void* kind, size_t count, size_t bytes) = nullptr;
  int (*allocate_aligned)(void* kind, void** out, size_t alignment, size_t bytes) = nullptr;
  void* (*resize)(void* kind, void* p, size_t bytes) = nullptr;
  void (*release)(void* kind, void* p) = nullptr;
  size_t (*usable_size)(void* kind, void* p) = nullptr;
};

// Loads it. Called once, with no lock held and with every nested allocation going to glibc. All memory it hands out
// must come from mmap calls made through our wrapper. False: not installed, or not usable.
bool load_backend(Backend& out);

}  // namespace ebb::heap
