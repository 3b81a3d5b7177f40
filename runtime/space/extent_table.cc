#include "space/extent_table.h"

#include <new>

#include "base/check.h"

namespace ebb {

// Three to a page: the arena's classes are powers of two, and every snapshot stores and restores the records.
Extent* ExtentTable::make() {
  constexpr unsigned kInPage = kPageSize / sizeof(Extent);
  static_assert(kInPage >= 3 && sizeof(Extent) >= sizeof(Free));
  if (!free_) {
    char* const page = static_cast<char*>(arena_.allocate(kPageSize));
    if (!page) return nullptr;
    for (unsigned i = kInPage; i-- > 0;) free_ = new (page + i * sizeof(Extent)) Free{free_};
  }
  Free* const found = free_;
  free_ = found->next;
  return new (found) Extent;
}

ExtentTable::Leaf* ExtentTable::leaf_for(Address a) {
  auto& place = leaves_[a.value >> kLeafShift];
  Leaf* leaf = place.load(std::memory_order_relaxed);
  if (!leaf) {
    leaf = static_cast<Leaf*>(arena_.allocate(sizeof(Leaf)));  // zeroed: all null
    place.store(leaf, std::memory_order_release);
  }
  return leaf;
}

Extent* ExtentTable::find_or_make(Address a) {
  if (a.value >> 47) return nullptr;
  Leaf* leaf = leaf_for(a);
  if (!leaf) return nullptr;
  auto& place = leaf->extent[index(a)];
  Extent* e = place.load(std::memory_order_relaxed);
  if (!e) {
    e = make();
    if (!e) return nullptr;
    e->base = a.extent();
    place.store(e, std::memory_order_release);
    ++size_;
  }
  return e;
}

void ExtentTable::destroy(Extent& e) {
  EBB_CHECK(e.queue == Queue::kNone && e.away == Away::kNone && e.slot == kNoSlot && !e.store && !e.hashes &&
            !e.transfers);
  EBB_CHECK(e.record.layer == kNoLayer);
  leaves_[e.base.value >> kLeafShift]
      .load(std::memory_order_relaxed)
      ->extent[index(e.base)]
      .store(nullptr, std::memory_order_release);
  e.~Extent();
  free_ = new (&e) Free{free_};
  --size_;
}

bool ExtentTable::rekey(Extent& e, Address base) {
  Leaf* leaf = leaf_for(base);
  if (!leaf) return false;
  auto& place = leaf->extent[index(base)];
  EBB_CHECK(!place.load(std::memory_order_relaxed));
  leaves_[e.base.value >> kLeafShift]
      .load(std::memory_order_relaxed)
      ->extent[index(e.base)]
      .store(nullptr, std::memory_order_release);
  e.base = base.extent();
  place.store(&e, std::memory_order_release);
  return true;
}

}  // namespace ebb
