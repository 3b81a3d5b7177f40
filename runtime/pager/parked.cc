// Faults of a thread that forks. glibc touches memory between our fork handlers and the fork itself: streams, the state
// of its name service. Rules: see pager.h and answer_parked() there: no allocation, nothing of the pager's state
// changes but the page that is asked for.
#include "pager/pager.h"

namespace ebb {

void Pager::answer_parked(uint32_t thread) {
  Fault fault;
  while (ops_.read_faults(&fault, 1)) {
    const AddressRange page = range_at(fault.address, kPageSize);
    if (fault.thread != thread) {
      // It waits, or, when there are too many, asks again and again.
      if (parked_count_ < kParkedFaults)
        parked_[parked_count_++] = fault.address;
      else
        ops_.wake(page);
      continue;
    }
    Extent* e = table_.find(fault.address);
    const unsigned i = fault.address.page_in_extent();
    if (e && fault.write_protect && e->resident.test(i))
      own_now(*e, PageSet::of({i, 1}));
    else if (!e || !e->managed.test(i) || !e->armed || e->resident.test(i) || !fill_parked(*e, i))
      ops_.wake(page);
  }
}

// False when the page cannot be read, or not now: the thread asks again.
bool Pager::fill_parked(Extent& e, unsigned i) {
  char* const buffer = alone_;  // none is in use
  if (!e.stored.test(i)) {
    __builtin_memset(buffer, 0, kPageSize);
  } else {
    const SlotPlace place = store_.place(e, i);
    if (store_.byte_addressable()) {
      if (store_.copy_in(place, buffer, kPageSize)) __builtin_memset(buffer, 0, kPageSize);  // its hash will tell
    } else {
      IoCompletion done;
      if (!io_->submit({place.fd, false, buffer, kPageSize, place.offset, 0})) return false;
      while (io_->reap(&done, 1) == 0) io_->wait_one();
    }
    if (!is_as_written(e, i, buffer)) {
      // As lost_page(), which would change more than may be changed now.
      budget_.counters().bad_pages.fetch_add(1, std::memory_order_relaxed);
      return ops_.poison(range_at(e.page(i), kPageSize)).ok();
    }
    touch_cold_count(-1);
  }
  e.huge = false;
  e.resident.set(i);
  if (e.queue == Queue::kNone && e.away == Away::kNone) enqueue(e, Queue::kMain);
  budget_.charge({1});
  if (ops_.copy(e.page(i), buffer, Bytes{kPageSize}).done.count) return true;
  e.resident.clear(i);
  budget_.release({1});
  if (e.stored.test(i)) touch_cold_count(1);
  return false;
}

void Pager::take_parked() {
  for (; parked_count_; --parked_count_)
    if (!waiters_.push_back({parked_[parked_count_ - 1], now_ns_}))
      ops_.wake(range_at(parked_[parked_count_ - 1], kPageSize));
}

}  // namespace ebb
