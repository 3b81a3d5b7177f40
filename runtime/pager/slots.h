// SlotPool: places out of the program's sight, each as large as an extent, where pages wait: in limbo before eviction,
// on their way from the store, or read ahead. Page i of an extent uses page i of its slot.
//
// Pages that a slot keeps after use are *spare*: charged memory without content, which the next transfer into the slot
// uses instead of new memory. Guarded by the state lock.
#pragma once

#include "base/arena.h"
#include "os/kernel.h"
#include "pager/budget.h"
#include "space/extent.h"

namespace ebb {

class SlotPool {
 public:
  constexpr SlotPool(Arena& arena, PageOps& ops, Budget& budget) : arena_(arena), ops_(ops), budget_(budget) {}

  // `range` is mapped, armed as limbo, and holds nothing; its last quarter wants huge pages. ENOMEM when the tables do
  // not fit.
  Result<void> open(AddressRange range);

  // A slot without a present page, for pages that are moved in; kNoSlot when all are in use.
  uint32_t take_empty();
  // A slot for pages that are read in: one whose spare pages cover `wanted` best, of a quick look.
  uint32_t take_for_load(const PageSet& wanted);
  // Gives a slot back with what spare pages it has.
  void give(uint32_t slot);

  Address address(uint32_t slot, unsigned page) const {
    return range_.begin + (uint64_t{slot} << kExtentShift) + uint64_t{page} * kPageSize;
  }
  const PageSet& present(uint32_t slot) const { return present_[slot]; }
  // Pages were moved in (they bring their charge), or out (they take it along), or made (charged by the caller).
  void entered(uint32_t slot, const PageSet& pages) { present_[slot] |= pages; }
  void left(uint32_t slot, const PageSet& pages) { present_[slot].remove(pages); }
  // Frees these pages of the slot and their charge.
  void discard(uint32_t slot, const PageSet& pages);

  // Frees about `wanted` spare pages of unused slots; how many were freed.
  Pages drop_spare(Pages wanted);
  Pages spare() const { return spare_; }
  uint32_t used() const { return used_; }
  uint32_t count() const { return count_; }

 private:
  static constexpr uint32_t kEnd = kNoSlot;
  bool huge(uint32_t slot) const { return slot >= count_ - count_ / 4; }
  uint32_t pop(uint32_t& head);

  Arena& arena_;
  PageOps& ops_;
  Budget& budget_;
  AddressRange range_{};
  PageSet* present_ = nullptr;
  uint32_t* next_ = nullptr;  // in either list of unused slots
  uint32_t empty_ = kEnd;     // unused, nothing present
  uint32_t huge_ = kEnd;      // unused, nothing present, backed by a huge page when touched: for whole extents
  uint32_t rich_ = kEnd;      // unused, with spare pages
  uint32_t count_ = 0, used_ = 0;
  Pages spare_{};
};

}  // namespace ebb
