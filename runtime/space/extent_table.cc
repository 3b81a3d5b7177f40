#include "space/extent_table.h"

#include "base/check.h"

namespace ebb {

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
    e = arena_.make<Extent>();
    if (!e) return nullptr;
    e->base = a.extent();
    place.store(e, std::memory_order_release);
    ++size_;
  }
  return e;
}

void ExtentTable::destroy(Extent& e) {
  EBB_CHECK(e.queue == Queue::kNone && e.away == Away::kNone && e.slot == kNoSlot && !e.store && !e.hashes && !e.transfers);
  EBB_CHECK(e.record.layer == kNoLayer);
  leaves_[e.base.value >> kLeafShift]
      .load(std::memory_order_relaxed)
      ->extent[index(e.base)]
      .store(nullptr, std::memory_order_release);
  arena_.destroy(&e);
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
