#include "pager/slots.h"

#include <cerrno>

#include "base/check.h"
#include "space/extent.h"

namespace ebb {

Result<void> SlotPool::open(AddressRange range) {
  const uint32_t wanted = static_cast<uint32_t>(range.size() >> kExtentShift);
  if (wanted != count_ || !present_) {
    EBB_CHECK(!present_);  // opened again only with the same size, after a fork
    present_ = arena_.make_array<PageSet>(wanted);
    next_ = arena_.make_array<uint32_t>(wanted);
    if (!present_ || !next_) return Errno{ENOMEM};
  }
  range_ = range;
  count_ = wanted;
  used_ = 0;
  spare_ = {};
  rich_ = kEnd;
  empty_ = huge_ = kEnd;
  for (uint32_t i = count_; i-- > 0;) {
    present_[i] = {};
    uint32_t& head = huge(i) ? huge_ : empty_;
    next_[i] = head;
    head = i;
  }
  return {};
}

uint32_t SlotPool::pop(uint32_t& head) {
  const uint32_t slot = head;
  if (slot == kEnd) return kNoSlot;
  head = next_[slot];
  ++used_;
  spare_ -= present_[slot].pages();
  return slot;
}

uint32_t SlotPool::take_empty() {
  if (empty_ != kEnd) return pop(empty_);
  if (huge_ != kEnd) return pop(huge_);
  const uint32_t slot = pop(rich_);
  if (slot != kNoSlot) discard(slot, present_[slot]);
  return slot;
}

uint32_t SlotPool::take_for_load(const PageSet& wanted) {
  // A few pages are not worth taking a rich slot apart, and must not bring a whole huge page into being.
  if (rich_ != kEnd && wanted.count() >= kPagesPerExtent / 4) return pop(rich_);
  if (huge_ != kEnd && wanted.full()) return pop(huge_);
  return empty_ != kEnd ? pop(empty_) : pop(rich_);
}

void SlotPool::give(uint32_t slot) {
  EBB_CHECK(used_ > 0);
  --used_;
  uint32_t& head = present_[slot].any() ? rich_ : huge(slot) ? huge_ : empty_;
  next_[slot] = head;
  head = slot;
  spare_ += present_[slot].pages();
}

void SlotPool::discard(uint32_t slot, const PageSet& pages) {
  const PageSet gone = pages & present_[slot];
  if (gone.none()) return;
  gone.for_each_run([&](PageRun r) { ops_.discard(range_at(address(slot, r.first), r.count * kPageSize)); });
  present_[slot].remove(gone);
  budget_.release(gone.pages());
}

Pages SlotPool::drop_spare(Pages wanted) {
  Pages freed{};
  while (freed < wanted && rich_ != kEnd) {
    const uint32_t slot = pop(rich_);
    freed += present_[slot].pages();
    discard(slot, present_[slot]);
    give(slot);
  }
  return freed;
}

}  // namespace ebb
