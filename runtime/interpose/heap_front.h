// Front: a few freed blocks that each thread keeps at hand, by size, so that most allocations of a grown process do not
// call memkind: that is a chain of jumps and two thread-local lookups through the loader, as much as the rest of
// malloc.
//
// free() must know a block's size without asking memkind. A slab of memkind holds blocks of one size only, so one byte
// for each page of the window says it: the class of the block that starts there. It is written each time that a block
// is taken from memkind, before anybody knows the block, and a slab does not change its size while one of its blocks is
// out; so it is right for every block that can be freed.
//
// Rules: no lock, and no byte of a kept block is touched (it may be cold). A thread's blocks go back to memkind when it
// ends. What a front holds is bounded: kSlots blocks of a class, kMostLarge bytes of the larger ones.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "interpose/address_window.h"
#include "interpose/heap_route.h"

namespace ebb::heap {

// Classes as memkind's allocator has them: steps of 16 bytes up to 128, then four for each doubling. What memkind in
// fact uses is checked by asking it (take_new), so another spacing would cost time only.
inline constexpr size_t kFrontMost = size_t{1} << 20;
inline constexpr unsigned kClasses = 60;

constexpr unsigned compute_class(size_t bytes) {  // 1 to kFrontMost
  const size_t x = bytes - 1;
  if (x < 64) return static_cast<unsigned>(x / 16);
  const unsigned lg = 63 - static_cast<unsigned>(__builtin_clzl(x));
  return (lg - 6) * 4 + 4 + static_cast<unsigned>((x >> (lg - 2)) & 3);
}

constexpr uint32_t compute_class_bytes(unsigned c) {
  if (c < 4) return 16 * (c + 1);
  const unsigned doubling = (c - 4) / 4, step = (c - 4) % 4;
  return (64u << doubling) + (16u << doubling) * (step + 1);
}

inline constexpr auto kClassBytes = [] {
  std::array<uint32_t, kClasses> bytes{};
  for (unsigned c = 0; c < kClasses; ++c) bytes[c] = compute_class_bytes(c);
  return bytes;
}();
static_assert(kClassBytes[kClasses - 1] == kFrontMost);

// For the sizes that matter most.
inline constexpr auto kSmallClass = [] {
  std::array<uint8_t, 64> classes{};
  for (unsigned i = 0; i < 64; ++i) classes[i] = static_cast<uint8_t>(compute_class(16 * (i + 1)));
  return classes;
}();

inline unsigned class_of(size_t bytes) { return bytes <= 1024 ? kSmallClass[(bytes - 1) / 16] : compute_class(bytes); }

struct Front {
  static constexpr uint32_t kSlots = 15;
  static constexpr unsigned kFirstLarge = compute_class((8 << 10) + 1);
  static constexpr int64_t kMostLarge = 1 << 20;

  struct Bin {
    uint32_t count;
    void* block[kSlots];
  };
  Bin bins[kClasses];
  int64_t large_bytes;

  // A kept block of class `c`, or nullptr.
  void* take(unsigned c) {
    Bin& bin = bins[c];
    if (bin.count == 0) return nullptr;
    if (c >= kFirstLarge) large_bytes -= kClassBytes[c];
    return bin.block[--bin.count];
  }

  // Whether there was room.
  bool put(unsigned c, void* p) {
    Bin& bin = bins[c];
    if (bin.count == kSlots) return false;
    if (c >= kFirstLarge) {
      if (large_bytes + kClassBytes[c] > kMostLarge) return false;
      large_bytes += kClassBytes[c];
    }
    bin.block[bin.count++] = p;
    return true;
  }
};

// One byte for each page of memkind's window: the class + 1 of the block that starts in it, or 0 for "ask memkind".
// Leaves of a GiB, made when needed.
using PageClass = std::atomic<uint8_t>;
inline constexpr size_t kLeafBytes = size_t{1} << 30;
inline constexpr size_t kLeafPages = kLeafBytes / kPageSize;
inline constexpr size_t kPageLeaves = (kOursEnd - kExtentsBegin) / kLeafBytes;
extern std::atomic<PageClass*> g_page_classes[kPageLeaves];

// Of a block in memkind's window: its class + 1, or 0.
inline unsigned known_class(const void* p) {
  const size_t offset = reinterpret_cast<uintptr_t>(p) - kExtentsBegin;
  const PageClass* leaf = g_page_classes[offset / kLeafBytes].load(std::memory_order_acquire);
  return leaf ? leaf[offset % kLeafBytes / kPageSize].load(std::memory_order_relaxed) : 0;
}

void set_class_in_new_leaf(std::atomic<PageClass*>& slot, size_t page, unsigned known);
inline void set_known_class(const void* p, unsigned known) {
  const size_t offset = reinterpret_cast<uintptr_t>(p) - kExtentsBegin;
  auto& slot = g_page_classes[offset / kLeafBytes];
  const size_t page = offset % kLeafBytes / kPageSize;
  PageClass* leaf = slot.load(std::memory_order_acquire);
  if (!leaf) return set_class_in_new_leaf(slot, page, known);
  // Usually a neighbour in the slab has said it: no cache line is written then.
  if (leaf[page].load(std::memory_order_relaxed) != known)
    leaf[page].store(static_cast<uint8_t>(known), std::memory_order_relaxed);
}

// Whether memkind's blocks of a class are exactly as long as we think. If not, they would share slabs with others.
enum class Checked : uint8_t { kUnknown, kExact, kOther };
extern std::atomic<Checked> g_checked[kClasses];
bool check_class(unsigned c, void* p);

// A new block of class `c` from memkind, or nullptr.
inline void* take_new(unsigned c, bool zeroed) {
  const size_t bytes = kClassBytes[c];
  void* p = in_memkind([=] {
    return zeroed ? g_backend.allocate_zeroed(g_backend.kind, 1, bytes) : g_backend.allocate(g_backend.kind, bytes);
  });
  if (!p) return nullptr;
  const Checked checked = g_checked[c].load(std::memory_order_relaxed);
  const bool exact = checked == Checked::kExact || (checked == Checked::kUnknown && check_class(c, p));
  set_known_class(p, exact ? c + 1 : 0);
  return p;
}

inline void give_back(void* p) {
  in_memkind([=] { return g_backend.release(g_backend.kind, p), 0; });
}

// Notes the class of any other block that memkind has just given or resized.
void note_block(void* p);

// In the thread that loads memkind, before that: whether threads can have fronts at all.
void prepare_fronts();
// For the calling thread, which goes over to memkind. nullptr: it does without.
Front* make_front();
// Gives back all large blocks, to make room for others.
void empty_large(Front& front);

}  // namespace ebb::heap
