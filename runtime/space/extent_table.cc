#include "space/extent_table.h"

#include <new>

#include "base/check.h"

namespace ebb {

Extent* ExtentTable::make() {
  if (free_) {
    Free* const found = free_;
    free_ = found->next;
    return new (found) Extent(*found->sets);
  }
  if (begun_ == kInBatch && !begin_batch()) return nullptr;
  Extent* const made = new (records_ + begun_ * sizeof(Extent)) Extent(batches_.back()[begun_]);
  ++begun_;
  return made;
}

bool ExtentTable::begin_batch() {
  char* const records = static_cast<char*>(arena_.allocate(kBatch));
  auto* const sets = records ? static_cast<RareSets*>(arena_.allocate(kBatch)) : nullptr;
  if (!sets || !batches_.push_back(sets)) {
    arena_.release(records, kBatch);
    arena_.release(sets, kBatch);
    return false;
  }
  records_ = records;
  begun_ = 0;
  return true;
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
  RareSets& sets = e.rare;
  sets = {};
  e.~Extent();
  free_ = new (&e) Free{free_, &sets};
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
