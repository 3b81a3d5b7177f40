#include "pager/slots.h"

#include <cerrno>

#include "base/check.h"
#include "space/extent.h"

namespace ebb {

Result<void> SlotPool::open(AddressRange range) {
  const uint32_t wanted = static_cast<uint32_t>(range.size() >> kExtentShift);
  if (wanted != count_ || !present_) {
    EBB_CHECK(!present_);  // opened again only with the same size, in a fork child
    present_ = arena_.make_array<PageSet>(wanted);
    state_ = arena_.make_array<State>(wanted);
    next_ = arena_.make_array<uint32_t>(wanted);
    if (!present_ || !state_ || !next_) return Errno{ENOMEM};
  }
  EBB_CHECK(used_ == 0);
  range_ = range;
  count_ = wanted;
  used_ = 0;
  spare_ = {};
  empty_ = huge_ = rich_ = whole_ = kEnd;
  for (uint32_t i = count_; i-- > 0;) {
    present_[i] = {};
    state_[i] = {};
    uint32_t& head = wants_huge(i) ? huge_ : empty_;
    next_[i] = head;
    head = i;
  }
  return {};
}

uint32_t SlotPool::pop(uint32_t& head) {
  const uint32_t slot = head;
  if (slot == kEnd) return kNoSlot;
  head = next_[slot];
  EBB_CHECK(!state_[slot].used);
  state_[slot].used = true;
  ++used_;
  spare_ -= present_[slot].pages();
  return slot;
}

// Kernels from 6.14 on free the page table of a range that is dropped as a whole.
void SlotPool::clear_tables(uint32_t slot) {
  if (!state_[slot].tables) return;
  ops_.discard(range_at(address(slot, 0), kExtentSize));
  state_[slot].tables = false;
}

uint32_t SlotPool::take_empty(bool whole) {
  uint32_t slot = pop(whole ? huge_ : empty_);
  if (slot == kNoSlot) slot = pop(whole ? empty_ : huge_);
  if (slot == kNoSlot) slot = pop(rich_);
  if (slot == kNoSlot) slot = pop(whole_);
  if (slot == kNoSlot) return kNoSlot;
  discard(slot, present_[slot]);
  if (whole) clear_tables(slot);
  return slot;
}

uint32_t SlotPool::take_for_load(const PageSet& wanted) {
  // A few pages are not worth taking a rich slot apart, nor may they keep a huge page from its use.
  const bool many = wanted.count() >= kPagesPerExtent / 4;
  const uint32_t slot = pop(empty_ == kEnd || (many && rich_ != kEnd) ? rich_ : empty_);
  // What will not be used is room for others, and nobody could free it in a slot in use.
  if (slot != kNoSlot) discard(slot, present_[slot].minus(wanted));
  return slot;
}

uint32_t SlotPool::take_whole() {
  if (whole_ != kEnd) return pop(whole_);
  return pop(huge_);
}

bool SlotPool::make_whole(uint32_t slot) {
  clear_tables(slot);
  if (!ops_.populate(range_at(address(slot, 0), kExtentSize))) {
    ops_.discard(range_at(address(slot, 0), kExtentSize));
    return false;
  }
  present_[slot] = PageSet::all();
  state_[slot].whole = true;
  state_[slot].tables = false;
  return true;
}

bool SlotPool::still_whole(uint32_t slot) {
  if (!state_[slot].whole) return false;
  (void)ops_.present(address(slot, 0), &state_[slot].whole);
  if (!state_[slot].whole) state_[slot].tables = true;
  return state_[slot].whole;
}

void SlotPool::entered(uint32_t slot, const PageSet& pages, bool whole) {
  present_[slot] |= pages;
  if (whole)
    state_[slot].whole = true;
  else if (!state_[slot].whole)
    state_[slot].tables = true;
}

void SlotPool::left(uint32_t slot, const PageSet& pages) {
  if (pages.none()) return;
  present_[slot].remove(pages);
  if (state_[slot].whole && !pages.full()) state_[slot].tables = true;  // the kernel took it apart
  state_[slot].whole = false;
}

void SlotPool::give(uint32_t slot) {
  EBB_CHECK(state_[slot].used);
  // Single pages are in the way of a huge one. Nor is such a slot for a few pages later: empty, it would get all 512.
  if (wants_huge(slot) && !state_[slot].whole) discard(slot, present_[slot]);
  state_[slot].used = false;
  --used_;
  uint32_t* head = &rich_;
  if (present_[slot].none())
    head = wants_huge(slot) ? &huge_ : &empty_;
  else if (state_[slot].whole)
    head = &whole_;
  next_[slot] = *head;
  *head = slot;
  spare_ += present_[slot].pages();
}

void SlotPool::discard(uint32_t slot, const PageSet& pages) {
  const PageSet gone = pages & present_[slot];
  drop(slot, gone);
  budget_.release(gone.pages());
}

void SlotPool::drop(uint32_t slot, const PageSet& gone) {
  if (gone.none()) return;
  // One call where nothing else is in the slot: each one makes other processors forget their translations.
  const bool all = gone == present_[slot];
  if (all)
    ops_.discard(range_at(address(slot, 0), kExtentSize));
  else
    gone.for_each_run([&](PageRun r) { ops_.discard(range_at(address(slot, r.first), r.count * kPageSize)); });
  left(slot, gone);
  if (all) state_[slot].tables = false;
}

Pages SlotPool::drop_spare(Pages wanted) {
  Pages freed{};
  while (freed < wanted && (rich_ != kEnd || whole_ != kEnd)) {
    const uint32_t slot = rich_ != kEnd ? pop(rich_) : pop(whole_);
    freed += present_[slot].pages();
    discard(slot, present_[slot]);
    give(slot);
  }
  return freed;
}

}  // namespace ebb
