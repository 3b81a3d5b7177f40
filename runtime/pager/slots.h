// SlotPool: places out of the program's sight, each as large as an extent, where pages wait: in limbo before eviction,
// on their way from the store, or read ahead. Page i of an extent uses page i of its slot.
//
// Pages that a slot keeps after use are *spare*: charged memory without content, which the next transfer into the slot
// uses instead of new memory. A slot that holds one huge page is *whole*: it moves by one entry of a page table, where
// 512 single pages take as many, and as many misses of the processor (and faults of a hypervisor) when next touched.
// Guarded by the state lock.
#pragma once

#include "base/arena.h"
#include "os/kernel.h"
#include "pager/budget.h"
#include "space/extent.h"

namespace ebb {

class SlotPool {
 public:
  constexpr SlotPool(Arena& arena, PageOps& ops, Budget& budget) : arena_(arena), ops_(ops), budget_(budget) {}

  // `range` is mapped, armed as limbo, and holds nothing; the last huge_slots() want huge pages. ENOMEM when the tables
  // do not fit.
  Result<void> open(AddressRange range);

  // A slot without a present page, for pages that are moved in; `whole` when that is one huge page. kNoSlot when all
  // are in use.
  uint32_t take_empty(bool whole);
  // A slot for these pages, which are read in: with spare pages for them when they are more than a few, and no others.
  uint32_t take_for_load(const PageSet& wanted);
  // A slot that can be whole: it is already, with spare pages, or it is empty and becomes so by make_whole().
  uint32_t take_whole();
  // Gives an empty slot of take_whole() its huge page, all zeros; its charge is the caller's. False: no memory.
  bool make_whole(uint32_t slot);
  // Gives a slot back with what spare pages it has, but for single ones where huge pages are wanted.
  void give(uint32_t slot);

  Address address(uint32_t slot, unsigned page) const {
    return range_.begin + (uint64_t{slot} << kExtentShift) + uint64_t{page} * kPageSize;
  }
  const PageSet& present(uint32_t slot) const { return present_[slot]; }
  bool whole(uint32_t slot) const { return state_[slot].whole; }
  // The same, asked of the kernel: it may have taken apart what we moved in as one.
  bool still_whole(uint32_t slot);
  // Pages were moved in (they bring their charge; `whole`: as one huge page), or out (they take it along), or made
  // (charged by the caller).
  void entered(uint32_t slot, const PageSet& pages, bool whole = false);
  void left(uint32_t slot, const PageSet& pages);
  // Frees these pages of the slot; their charge goes to a copy elsewhere.
  void drop(uint32_t slot, const PageSet& pages);
  // Frees these pages of the slot and their charge.
  void discard(uint32_t slot, const PageSet& pages);

  // Frees about `wanted` spare pages of unused slots; how many were freed.
  Pages drop_spare(Pages wanted);
  Pages spare() const { return spare_; }
  uint32_t used() const { return used_; }
  bool all_used() const { return used_ == count_; }
  // How many of `count` slots, the last ones, want huge pages: as many as transfers and spare pages ever need.
  static constexpr uint32_t huge_slots(uint32_t count) { return count / 4 < 256 ? count / 4 : 256; }

 private:
  static constexpr uint32_t kEnd = kNoSlot;
  struct State {
    bool used = false;    // taken and not given back
    bool whole = false;   // holds a huge page, as far as we know
    bool tables = false;  // may have a page table, without which alone a huge page can be moved in
  };
  bool wants_huge(uint32_t slot) const { return slot >= count_ - huge_slots(count_); }
  uint32_t pop(uint32_t& head);
  void clear_tables(uint32_t slot);

  Arena& arena_;
  PageOps& ops_;
  Budget& budget_;
  AddressRange range_{};
  PageSet* present_ = nullptr;
  State* state_ = nullptr;
  uint32_t* next_ = nullptr;  // in one of the lists of unused slots
  uint32_t empty_ = kEnd;     // nothing present; of single pages when touched
  uint32_t huge_ = kEnd;      // nothing present; backed by a huge page when touched
  uint32_t rich_ = kEnd;      // with spare pages
  uint32_t whole_ = kEnd;     // with a spare huge page
  uint32_t count_ = 0, used_ = 0;
  Pages spare_{};
};

}  // namespace ebb
