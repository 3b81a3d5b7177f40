// Large objects and the table of their sizes. See heap_large.h.
#include "interpose/heap_large.h"

#include <sys/mman.h>
#include <atomic>
#include <cerrno>

#include "base/check.h"
#include "base/syscall.h"
#include "base/units.h"
#include "interpose/address_window.h"
#include "job/engine.h"

namespace ebb::heap {
namespace {

// One entry for each extent of the window, in leaves that are made when needed. An entry is written by the thread that
// owns the object, so plain relaxed atomics do.
using Entry = std::atomic<uint64_t>;
constexpr size_t kEntriesPerLeaf = 8192;
constexpr size_t kLeaves = (kExtentsBegin - kLargeBegin) / kExtentSize / kEntriesPerLeaf;
constinit std::atomic<Entry*> g_leaves[kLeaves] = {};

Entry* leaf_at(size_t index) {
  Entry* leaf = g_leaves[index].load(std::memory_order_acquire);
  if (leaf) return leaf;
  constexpr size_t kBytes = kEntriesPerLeaf * sizeof(Entry);
  const long made = raw_syscall(SYS_mmap, 0, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(made)) return nullptr;
  if (g_leaves[index].compare_exchange_strong(leaf, reinterpret_cast<Entry*>(made)))
    return reinterpret_cast<Entry*>(made);
  raw_syscall(SYS_munmap, made, kBytes);
  return leaf;
}

Entry* entry_of(uintptr_t address) {
  const size_t extent = (address - kLargeBegin) / kExtentSize;
  Entry* leaf = leaf_at(extent / kEntriesPerLeaf);
  return leaf ? &leaf[extent % kEntriesPerLeaf] : nullptr;
}

// Objects start at extents: anything else is no pointer of ours. glibc would abort too.
Entry& entry_of_object(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  Entry* entry = address % kExtentSize == 0 ? entry_of(address) : nullptr;
  const bool is_a_live_large_object = entry && entry->load(std::memory_order_relaxed) != 0;
  EBB_CHECK(is_a_live_large_object);
  return *entry;
}

// Moves the object to a place with room to grow once more.
void* move(void* p, uint64_t old_bytes, uint64_t bytes) {
  for (int i = 0; i < 64; ++i) {
    const uintptr_t to = g_large_window.take(bytes + bytes / 2, kExtentSize);
    Entry* entry = entry_of(to);
    if (!entry) return nullptr;
    // Hold the place first: MREMAP_FIXED would replace whatever a stranger has there.
    const long held = raw_syscall(SYS_mmap, static_cast<long>(to), static_cast<long>(bytes), PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (held == -EEXIST) continue;
    if (is_error(held)) return nullptr;
    const long moved = engine::remap(p, old_bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(to));
    if (is_error(moved)) {
      raw_syscall(SYS_munmap, static_cast<long>(to), static_cast<long>(bytes));
      return nullptr;
    }
    entry->store(bytes, std::memory_order_relaxed);
    return reinterpret_cast<void*>(to);
  }
  return nullptr;
}

}  // namespace

void* large_allocate(size_t bytes, size_t alignment) {
  const size_t mapped = align_up(bytes, kPageSize);
  if (mapped < bytes || mapped > kExtentsBegin - kLargeBegin) return nullptr;
  const long at = map_in_window(g_large_window, mapped, alignment > kExtentSize ? alignment : kExtentSize, true);
  if (is_error(at)) return nullptr;
  Entry* entry = entry_of(static_cast<uintptr_t>(at));
  if (!entry) {
    engine::unmap(reinterpret_cast<void*>(at), mapped);
    return nullptr;
  }
  entry->store(mapped, std::memory_order_relaxed);
  return reinterpret_cast<void*>(at);
}

void large_free(void* p) {
  Entry& entry = entry_of_object(p);
  const uint64_t mapped = entry.load(std::memory_order_relaxed);
  entry.store(0, std::memory_order_relaxed);
  engine::unmap(p, mapped);
}

size_t large_size(const void* p) { return entry_of_object(p).load(std::memory_order_relaxed); }

void* large_resize(void* p, size_t bytes) {
  Entry& entry = entry_of_object(p);
  const uint64_t old = entry.load(std::memory_order_relaxed);
  const uint64_t wanted = align_up(bytes, kPageSize);
  if (wanted < bytes || wanted > kExtentsBegin - kLargeBegin) return nullptr;
  if (wanted == old) return p;
  if (!is_error(engine::remap(p, old, wanted, 0, nullptr))) {
    entry.store(wanted, std::memory_order_relaxed);
    if (wanted > old) g_large_window.pass(reinterpret_cast<uintptr_t>(p) + wanted);
    return p;
  }
  if (wanted < old) return nullptr;
  void* moved = move(p, old, wanted);
  if (moved) entry.store(0, std::memory_order_relaxed);
  return moved;
}

}  // namespace ebb::heap
