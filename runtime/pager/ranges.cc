// Ranges: what the program's own mapping calls mean for managed pages. Called by hooks; rules: see pager.h.
#include "base/check.h"
#include "pager/pager.h"

namespace ebb {
namespace {

PageSet part_of(const Extent& e, AddressRange range) {
  const AddressRange r = range_at(e.base, kExtentSize).intersect(range);
  const unsigned first = static_cast<unsigned>((r.begin - e.base) >> kPageShift);
  return PageSet::of({first, static_cast<unsigned>(r.size() >> kPageShift)});
}

}  // namespace

// Whether the kernel may fill `range` without asking; all of it is charged then. While a job that is cleaned ahead
// fits, nothing of it needs to be watched before that.
bool Pager::charge_unwatched(AddressRange range) {
  return budget_.cleans_ahead() && budget_.managed() + Bytes{range.size()} <= budget_.limit() &&
         budget_.try_charge(range.pages());
}

bool Pager::add(AddressRange range, bool heap) {
  const bool charged = paged_ && charge_unwatched(range), watched = paged_ && !charged;
  Address at = range.begin;
  for (; at < range.end; at = at.extent() + kExtentSize) {
    Extent* e = table_.find_or_make(at);
    if (!e) break;
    const PageSet pages = part_of(*e, range);
    EBB_CHECK(!e->managed.intersects(pages));
    e->managed |= pages;
    e->heap = heap;
    budget_.add_managed(pages.pages());
    if (watched || e->armed) {
      if (charged) budget_.release(pages.pages());
      // Armed from birth: the first touch is ours to grant. An older part of the extent is looked at on the way.
      const bool older = !e->armed && e->managed != pages;
      if (older) {
        e->resident |= pages;
        budget_.charge(pages.pages());
        if (arm_and_look(*e)) continue;
        // The kernel will not arm it (someone else's userfaultfd): it counts as resident for good.
        continue;
      }
      e->armed = true;
      if (!ops_.arm(range_at(e->base, kExtentSize).intersect(range)).ok()) {
        own_now(*e, e->shared);
        disarm_extent(*e);
        budget_.charge(e->managed.minus(e->resident).pages());
        e->resident = e->managed;
      }
    } else {
      e->resident |= pages;
      if (!charged) budget_.charge(pages.pages());
      if (e->queue == Queue::kNone) enqueue(*e, Queue::kMain);
    }
  }
  if (at >= range.end) return true;
  if (charged) budget_.release(pages_covering(Bytes{range.end - at}));
  remove({range.begin, at}, true);
  return false;
}

bool Pager::settled(AddressRange range) {
  bool quiet = true;
  table_.for_each(range, [&](Extent& e) { quiet = quiet && e.transfers == 0; });
  return quiet;
}

void Pager::freeze(AddressRange range) {
  table_.for_each(range, [](Extent& e) { ++e.frozen; });
}

void Pager::thaw(AddressRange range) {
  table_.for_each(range, [](Extent& e) {
    if (e.frozen) --e.frozen;
  });
}

// What `pages` held is no longer wanted. Nothing of it is under way.
void Pager::forget_pages(Extent& e, const PageSet& pages) {
  EBB_CHECK(!e.writing.intersects(pages) && !e.loading.intersects(pages));
  e.huge = false;
  e.lost.remove(pages);
  e.clean.remove(pages);
  touch_cold_count(-int64_t{(e.cold() & pages).count()});
  left_aside(e, e.aside & pages);
  store_.forget(e, pages);
  if (e.armed) {
    release_resident(e, e.resident & pages);
  }
  leave_slot_if_idle(e);
  if (e.armed && e.resident.none()) dequeue(e);
}

void Pager::forget(AddressRange range) {
  table_.for_each(range, [&](Extent& e) { forget_pages(e, e.managed & part_of(e, range)); });
}

void Pager::remove(AddressRange range, bool keep) {
  table_.for_each(range, [&](Extent& e) {
    const PageSet pages = e.managed & part_of(e, range);
    if (keep) {
      e.aside.intersects(pages) ? settle_extent(e) : void();
      own_now(e, e.shared & pages);
      if (e.armed) pages.for_each_run([&](PageRun run) { (void)ops_.disarm(e.range(run)); });
    }
    forget_pages(e, pages);
    if (!e.armed) {
      budget_.release(pages.pages());
      e.resident.remove(pages);
    }
    budget_.remove_managed(pages.pages());
    e.managed.remove(pages);
    e.fenced.remove(pages);
    e.pinned.remove(pages);
    if (e.managed.none()) {
      dequeue(e);
      if (!e.frozen && e.slot == kNoSlot && !__atomic_load_n(&e.held, __ATOMIC_SEQ_CST)) destroy(e);
    }
  });
}

void Pager::fence(AddressRange range, bool on) {
  table_.for_each(range, [&](Extent& e) {
    const PageSet pages = e.managed & part_of(e, range);
    if (!on) {
      e.fenced.remove(pages);
      return;
    }
    // Pages out of sight can be moved home only while both mappings have the same protection.
    if (e.aside.intersects(pages)) settle_extent(e);
    e.fenced |= pages;
    e.huge = false;
  });
}

void Pager::pin(AddressRange range, bool on) {
  table_.for_each(range, [&](Extent& e) {
    const PageSet pages = e.managed & part_of(e, range);
    if (on) {
      if (e.aside.intersects(pages)) settle_extent(e);
      e.pinned |= pages;
    } else {
      e.pinned.remove(pages);
    }
  });
}

bool Pager::any_cold(AddressRange range) {
  bool any = false;
  table_.for_each(range, [&](Extent& e) {
    if (e.armed && (e.cold() & part_of(e, range)).any()) any = true;
  });
  return any;
}

void Pager::want(AddressRange range) {
  const uint64_t now = clock_.now_ns();
  table_.for_each(range, [&](Extent& e) {
    if (!e.armed) return;
    const PageSet cold = e.cold() & part_of(e, range);
    for (unsigned i = cold.next(0); i < kPagesPerExtent && waiters_.size() < kPagesPerExtent; i = cold.next(i + 1))
      (void)waiters_.push_back({e.page(i), now});
  });
}

bool Pager::any_managed(AddressRange range) {
  bool any = false;
  table_.for_each(range, [&](Extent& e) { any = any || e.managed.intersects(part_of(e, range)); });
  return any;
}

bool Pager::any_pinned(AddressRange range) {
  bool any = false;
  table_.for_each(range, [&](Extent& e) { any = any || e.pinned.intersects(part_of(e, range)); });
  return any;
}

bool Pager::elsewhere(Address page) const {
  const Extent* e = table_.find(page);
  if (!e) return false;
  const unsigned i = page.page_in_extent();
  return e->managed.test(i) && e->armed && (e->stored.test(i) || e->aside.test(i) || e->loading.test(i));
}

void Pager::look(AddressRange range) {
  table_.for_each(range, [&](Extent& e) {
    if (!e.armed) return;
    const PageSet here = (ops_.present(e.base, nullptr) & e.managed & part_of(e, range)).minus(e.resident);
    e.resident |= here;
    budget_.charge(here.pages());
    if (e.resident.any() && e.queue == Queue::kNone && e.away == Away::kNone) enqueue(e, Queue::kMain);
  });
}

void Pager::forget_copies(AddressRange range) {
  table_.for_each(range, [&](Extent& e) {
    const PageSet pages = e.resident & part_of(e, range);
    unprotect(e, e.clean & pages);
    store_.forget(e, pages);
  });
}

bool Pager::rekey(AddressRange from, Address to) {
  bool all = true;
  table_.for_each(from, [&](Extent& e) {
    const Address base = to.extent() + (e.base - from.begin.extent());
    const PageSet pages = e.managed & part_of(e, from);
    if (pages == e.managed && !table_.find(base)) {
      all = all && table_.rekey(e, base);
    } else {
      // An edge that other pages share: nothing of it is in the store, only its presence moves.
      Extent* there = table_.find_or_make(base);
      if (!there || (e.stored & pages).any()) {
        all = false;
        return;
      }
      const bool was_armed = there->managed.none() ? e.armed : there->armed;
      const PageSet here = was_armed && !e.armed ? ops_.present(base, nullptr) & pages : e.resident & pages;
      const PageSet counted = was_armed ? here : pages;
      budget_.release((e.resident & pages).pages());
      budget_.charge(counted.pages());
      there->armed = was_armed;
      there->managed |= pages;
      there->resident |= counted;
      there->fenced |= e.fenced & pages;
      there->pinned |= e.pinned & pages;
      there->lost |= e.lost & pages;
      e.managed.remove(pages);
      e.resident.remove(pages);
      e.fenced.remove(pages);
      e.pinned.remove(pages);
      e.lost.remove(pages);
      if (e.resident.none()) dequeue(e);
      if (there->queue == Queue::kNone && there->resident.any()) enqueue(*there, Queue::kMain);
      if (there->armed && arm_extent(*there)) all = false;
      return;
    }
    if (e.armed && arm_extent(e)) all = false;
  });
  return all;
}

void Pager::settle_home(AddressRange range) {
  table_.for_each(range, [&](Extent& e) {
    if (e.aside.any()) settle_extent(e);
    own_now(e, e.shared);  // our protection does not move with the pages
    unprotect(e, e.clean);
  });
}

}  // namespace ebb
