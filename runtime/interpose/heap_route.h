// Where an allocation goes: glibc while the process is small, memkind once it has grown, a mapping of its own when it
// is large. Each thread goes over by itself, in the slow path of its next allocation.
//
// Rules: nothing here allocates but through the paths named here. `inside` is set around every call into memkind; what
// is allocated then (the loader's thread-local blocks, pthread keys) goes to glibc, so memkind is never re-entered.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpose/address_window.h"
#include "interpose/heap_backend.h"

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* p, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* p);
}

namespace ebb::heap {

enum class Mode : uint32_t {
  kGlibc,    // allocations go to glibc until the credit is used up
  kMemkind,  // allocations go to memkind
  kInside,   // this thread is in a call to memkind
  kAsking,   // this thread, in our constructor, asks whose malloc it is
};

struct Front;  // heap_front.h

struct Thread {
  size_t credit;  // bytes to allocate from glibc before the next look at where we stand
  Mode mode;
  Front* front;  // with mode kMemkind, and until the thread's last destructors
};
extern __thread Thread t_heap __attribute__((tls_model("initial-exec")));

inline bool inside_memkind() { return t_heap.mode == Mode::kInside; }

extern Backend g_backend;

// Runs a call into memkind.
template <class Call>
inline auto in_memkind(Call call) {
  const Mode before = t_heap.mode;
  t_heap.mode = Mode::kInside;
  const auto result = call();
  t_heap.mode = before;
  return result;
}

enum class Route { kGlibc, kMemkind, kLarge, kNowhere };
// The slow path's decision for an allocation of `bytes` by a thread in mode kGlibc whose credit does not suffice.
// May load memkind and move the thread over.
Route choose_route(size_t bytes, const void* return_address);

// A large object was freed before memkind was there: many of those are a reason to load it.
void note_large_free(size_t bytes);

// mmap as memkind asks for it: at `hint` or nowhere, else in the window. A value or -errno.
long map_extent(void* hint, size_t bytes, int prot, int flags);

// Whether the process's `free` is the one of this library.
bool exported_heap_is_ours();
// Picks where in the windows to begin, from 16 random bytes of the kernel.
void choose_addresses(const unsigned char* random);

}  // namespace ebb::heap
