// ExtentTable: from an address to its Extent. A radix tree of two levels over the 47 bits of user space: 16 GiB a leaf.
//
// Guarded by the state lock; find() may be called without it to learn whether an address was ever managed (leaves are
// never freed). Everything lives in the arena it is given.
#pragma once

#include <atomic>

#include "base/arena.h"
#include "base/hash.h"
#include "space/extent.h"

namespace ebb {

class ExtentTable {
 public:
  explicit constexpr ExtentTable(Arena& arena) : arena_(arena) {}

  // Null when no page of the extent is managed.
  Extent* find(Address a) const {
    if (a.value >> 47) return nullptr;
    const Leaf* leaf = leaves_[a.value >> kLeafShift].load(std::memory_order_acquire);
    return leaf ? leaf->extent[index(a)].load(std::memory_order_acquire) : nullptr;
  }
  // Makes the extent's record if there is none; null when memory is short.
  Extent* find_or_make(Address a);
  // Takes the record out and frees it. It must hold nothing: no queue, no slot, no store entries, no hashes.
  void destroy(Extent& e);
  // Puts the record of `e` under another, free address (a mapping moved). False when memory is short.
  bool rekey(Extent& e, Address base);

  uint64_t size() const { return size_; }

  // Calls fn(AddressRange) for the pages of RareSets in which all are empty: nothing is lost when they are dropped.
  template <class Fn>
  void for_each_empty_part(Fn fn) const {
    for (RareSets* const sets : batches_) {
      const auto* const pages = reinterpret_cast<const char*>(sets);
      for (size_t at = 0, end = 0; at < kBatch; at = end + kPageSize) {
        for (end = at; end < kBatch && is_zero_page(pages + end); end += kPageSize) {
        }
        if (end > at) fn(range_at({reinterpret_cast<uint64_t>(pages + at)}, end - at));
      }
    }
  }

  // The first extent at or above `from`; null when there is none.
  Extent* next(Address from) const {
    for (Address at = from.extent(); !(at.value >> 47);) {
      const Leaf* leaf = leaves_[at.value >> kLeafShift].load(std::memory_order_acquire);
      if (!leaf) {
        at = {((at.value >> kLeafShift) + 1) << kLeafShift};
        continue;
      }
      if (Extent* e = leaf->extent[index(at)].load(std::memory_order_relaxed)) return e;
      at = at + kExtentSize;
    }
    return nullptr;
  }
  // Calls fn(Extent&) for every extent that overlaps `range`, in order. fn may destroy the extent it is given.
  template <class Fn>
  void for_each(AddressRange range, Fn fn) {
    for (Address at = range.begin.extent(); at < range.end;) {
      if (at.value >> 47) return;
      Leaf* leaf = leaves_[at.value >> kLeafShift].load(std::memory_order_acquire);
      if (!leaf) {
        at = {((at.value >> kLeafShift) + 1) << kLeafShift};
        continue;
      }
      if (Extent* e = leaf->extent[index(at)].load(std::memory_order_relaxed)) fn(*e);
      at = at + kExtentSize;
    }
  }
  template <class Fn>
  void for_all(Fn fn) {
    for (uint64_t i = 0; i < kLeaves; ++i)
      if (leaves_[i].load(std::memory_order_relaxed))
        for_each(range_at({i << kLeafShift}, uint64_t{1} << kLeafShift), fn);
  }

 private:
  static constexpr unsigned kLeafShift = 34, kLeaves = 1u << (47 - 34), kExtentsPerLeaf = 1u << (34 - kExtentShift);
  struct Leaf {
    std::atomic<Extent*> extent[kExtentsPerLeaf];
  };
  // Records are made in batches, each with an array of sets beside it.
  static constexpr size_t kBatch = 64 << 10;
  static constexpr size_t kInBatch = kBatch / sizeof(RareSets);
  static_assert(kBatch / sizeof(Extent) >= kInBatch);
  struct Free {
    Free* next;
    RareSets* sets;
  };
  Extent* make();
  bool begin_batch();
  static unsigned index(Address a) { return static_cast<unsigned>(a.value >> kExtentShift) % kExtentsPerLeaf; }
  Leaf* leaf_for(Address a);

  Arena& arena_;
  std::atomic<Leaf*> leaves_[kLeaves] = {};
  Free* free_ = nullptr;
  ArenaVector<RareSets*> batches_{arena_};
  char* records_ = nullptr;  // of the last batch
  size_t begun_ = kInBatch;  // how many of it were ever in use
  uint64_t size_ = 0;
};

}  // namespace ebb
