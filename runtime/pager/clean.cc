// Cleaning: writes to the store ahead of a snapshot what the program has in DRAM. Rules: see pager.h.
//
// What was written ahead, or is zero and need not be, is *clean*: protected, so that the first write to it is seen. A
// snapshot stops the program only for what is not.
//
// A write that comes by no page table is not seen: by a device or by the kernel to a page that it held before it was
// protected (direct I/O, io_uring, RDMA). Such a page can be told by nothing but a move, which is dear; so nothing is
// clean while the process has anything that could hold one (PageOps::may_be_held()). It is asked after the protection:
// who begins to hold a page from then on has to break that first.
#include "pager/pager.h"

namespace ebb {
namespace {

constexpr uint64_t kLongInLimboNs = 1'000'000'000;

}  // namespace

// Makes the store hold `pages`, all resident, as they are now; what is zero it need not hold. `buffer` has room for an
// extent.
Errno Pager::store_resident(Extent& e, const PageSet& pages, char* buffer, Cache cache) {
  Compared seen;
  pages.for_each_run([&](PageRun run) {
    char* const page = buffer + run.first * kPageSize;
    ops_.peek(page, e.page(run.first), Bytes{run.count * kPageSize});
    compare(e, run, page, seen);
  });
  const PageSet& dirty = seen.changed;
  store_.forget(e, seen.zero & e.stored);
  if (dirty.none()) return {};
  const auto entry = store_.writable(e);
  if (!entry.ok()) return entry.error();
  if (!hashes(e)) return {ENOMEM};
  for (PageRun run = dirty.next_run(0); !run.empty(); run = dirty.next_run(run.end())) {
    bind_hashes(e, *entry.value(), run);
    const uint64_t bytes = run.count * kPageSize;
    const SlotPlace place = store_.place_in(*entry.value(), run.first);
    if (const Errno failed = store_.copy_out(place, buffer + run.first * kPageSize, bytes, cache)) {
      store_.forget(e, PageSet::of(run) & e.stored);  // whatever is in the file now, it is not to be trusted
      return failed;
    }
    store_.commit(e, *entry.value(), PageSet::of(run));
    budget_.counters().written_bytes.fetch_add(bytes, std::memory_order_relaxed);
    budget_.counters().cleaned_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
  return {};
}

bool Pager::clean_ahead(CleanWalk& walk, char* buffer) {
  Extent* const found = table_.next(walk.next);
  if (!found) return true;
  Extent& e = *found;
  walk.next = e.base + kExtentSize;
  walk.done += e.managed.pages();
  if (!e.at_rest()) {
    if (!walk.calm_only || e.away != Away::kLimbo || e.frozen || e.transfers) return false;
    // Out of sight, and nobody wants its room: at home it can be cleaned. The stop would have to write it otherwise.
    if (run_ns_ - e.aside_since_ns < kLongInLimboNs) return false;
    settle_extent(e);
    walk.brought_home = true;
    return false;
  }
  if (walk.calm_only && !is_calm(e)) return false;
  if (!e.armed && !arm_and_look(e)) return false;
  // What was changed since is trimmed, and recorded, with the program stopped; where the tier is mapped, all of it is
  // trimmed then: what is written into a gap that finds no space would be a SIGBUS.
  const auto complete = [&] {
    if (walk.calm_only) return false;
    if (!store_.byte_addressable()) store_.trim(e);
    walk.error = record(e);
    return static_cast<bool>(walk.error);
  };
  PageSet pages = e.resident.minus(e.clean).minus(kept(e)).minus(e.lost);
  // What a child has borrowed its parent cleans: each of many children would write all of it again.
  if (walk.calm_only) pages.remove(e.borrowed);
  if (pages.none()) return complete();
  const PageSet own = pages.minus(e.shared);  // the others are protected since the fork
  protect(e, own);
  // A hook that runs on a stack in it must not wait for us (see share()). Its pages are looked at in the end.
  if (__atomic_load_n(&e.held, __ATOMIC_SEQ_CST) || ops_.may_be_held()) {
    unprotect(e, own);
    return false;
  }
  walk.written += pages.pages();
  // Whoever takes a snapshot waits, and what is written is soon read again. In the background nobody waits, and the
  // page cache is left to others.
  walk.error = store_resident(e, pages, buffer, walk.calm_only ? Cache::kPast : Cache::kThrough);
  if (walk.error) {
    unprotect(e, own);
    return true;
  }
  e.clean |= pages;
  e.calm.cleaned(now_ns_);
  return complete();
}

// Makes the store hold a copy of the extent's hashes.
Errno Pager::record(Extent& e) {
  if (e.stored.none() || e.record.layer != kNoLayer) return {};
  return store_.keep_record(e);
}

// Whether the extent has something to be cleaned, and was left alone for long enough.
bool Pager::is_calm(Extent& e) {
  if (e.armed && e.resident.minus(e.clean).minus(e.borrowed).none()) return false;
  const PageSet here = e.armed ? e.resident : ops_.present(e.base, nullptr) & e.managed;
  return here.any() && e.calm.ripe(here.count(), now_ns_);
}

// What is not clean any more with a write to page `i`: a fault for each page would cost more than to look at some pages
// for nothing. A huge page stays one.
PageSet Pager::around_write(const Extent& e, unsigned i) {
  constexpr unsigned kPages = 32;
  if (e.huge) return PageSet::all();
  return PageSet::of(block_of(i, kPages));
}

// A write to page `i`, which is protected and not shared: the thread goes on.
void Pager::written(Extent& e, unsigned i) {
  e.calm.written(now_ns_);
  unprotect(e, (e.clean & around_write(e, i)) | PageSet::of({i, 1}));
}

}  // namespace ebb
