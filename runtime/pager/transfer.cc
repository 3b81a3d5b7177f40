// Transfers: pages on their way between slots and the store, and how each way ends. Rules: see pager.h.
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "base/syscall.h"
#include "pager/pager.h"

namespace ebb {
// Null when there is no memory for them. What the store cannot tell is the hash of no page.
PageHash* Pager::hashes(Extent& e) {
  if (e.hashes || !(e.hashes = hash_pool_.take()) || e.record.layer == kNoLayer) return e.hashes;
  if (store_.read_record(e, e.hashes) && store_.read_record(e, e.hashes)) {
    budget_.counters().read_errors.fetch_add(1, std::memory_order_relaxed);
    for (unsigned i = 0; i < kPagesPerExtent; ++i) e.hashes[i] = {};
  }
  return e.hashes;
}

// Whether a page from the store is what was written there.
bool Pager::is_as_written(Extent& e, unsigned i, const void* page) {
  const PageHash* const written = hashes(e);
  return written && hash_page(page, store_.place(e, i).seed) == written[i];
}

void Pager::destroy(Extent& e) {
  if (e.hashes) hash_pool_.give_back(e.hashes);
  e.hashes = nullptr;
  store_.forget_record(e);
  table_.destroy(e);
}

bool Pager::submit(const Transfer& transfer, const SlotPlace& place) {
  Transfer* t = free_transfers_;
  if (t)
    free_transfers_ = t->next_free;
  else if (!(t = arena_.make<Transfer>()))
    return false;
  *t = transfer;
  Extent& e = *t->extent;
  IoRequest request;
  request.fd = place.fd;
  request.write = t->write;
  request.buffer = t->alone ? t->alone : slots_.address(e.slot, t->run.first).pointer();
  request.bytes = static_cast<uint32_t>(t->run.count * kPageSize);
  request.offset = place.offset;
  request.tag = reinterpret_cast<uintptr_t>(t);
  if (!io_->submit(request)) {
    t->next_free = free_transfers_;
    free_transfers_ = t;
    return false;
  }
  ++e.transfers;
  ++transfers_;
  ++(t->write ? writes_ : reads_);
  return true;
}

void Pager::reap() {
  if (!io_) return;
  IoCompletion done[32];
  for (;;) {
    const unsigned n = io_->reap(done, 32);
    for (unsigned k = 0; k < n; ++k) {
      auto* t = reinterpret_cast<Transfer*>(done[k].tag);
      Extent& e = *t->extent;
      const Transfer copy = *t;
      t->next_free = free_transfers_;
      free_transfers_ = t;
      --e.transfers;
      --transfers_;
      --(copy.write ? writes_ : reads_);
      if (e.wanted.any()) keep(e, true);
      Transfer finished = copy;
      if (copy.write)
        finish_write(finished, done[k].result);
      else
        finish_read(finished, done[k].result);
    }
    if (n < 32) return;
  }
}

void Pager::finish_alone(Transfer& t, int32_t result) {
  Extent& e = *t.extent;
  const unsigned i = t.run.first;
  const SlotPlace place = store_.place(e, i);
  const bool read = result == static_cast<int32_t>(kPageSize);
  const bool good = read && is_as_written(e, i, t.alone);
  if (!good && !t.retried) {
    t.retried = true;
    if (submit(t, place)) return;
  }
  alone_free_ |= uint64_t{1} << ((t.alone - alone_) / kPageSize);
  const bool asked = e.wanted.test(i);
  e.loading.clear(i);
  e.wanted.clear(i);
  if (!good) {
    if (!read) budget_.counters().read_errors.fetch_add(1, std::memory_order_relaxed);
    budget_.release({1});
    touch_cold_count(1);
    if (asked)
      lost_page(e, i, result < 0 ? errno_name(-result) : "does not hold what was written to it");
    else
      e.doubtful = true;  // read ahead: it may never be asked for
    leave_slot_if_idle(e);
    return;
  }
  e.huge = false;
  budget_.counters().loaded_bytes.fetch_add(kPageSize, std::memory_order_relaxed);
  if (ops_.copy(e.page(i), t.alone, Bytes{kPageSize}).done.count) {
    e.resident.set(i);
  } else {
    budget_.release({1});
    touch_cold_count(1);
    ops_.wake(range_at(e.page(i), kPageSize));
  }
  leave_slot_if_idle(e);  // it may have waited for this page only
}

// Which pages of a run that was read hold what was written to them.
void Pager::verify(Extent& e, PageRun run, PageSet& good) {
  view(e, run, [&](PageRun part, const char* pages) {
    for (unsigned i = part.first; i < part.end(); ++i, pages += kPageSize)
      if (is_as_written(e, i, pages)) good.set(i);
  });
}

// What a run of pages, to be read at `page`, is to the store. Their hashes are kept in content_.
void Pager::compare(Extent& e, PageRun run, const char* page, Compared& out) {
  for (unsigned i = run.first; i < run.end(); ++i, page += kPageSize) {
    if (is_zero_page(page)) {
      out.zero.set(i);
      continue;
    }
    content_[i] = hash_page(page, 0);
    const bool same = e.stored.test(i) && hashes(e) && bound_to(content_[i], store_.place(e, i).seed) == e.hashes[i];
    (same ? out.stored : out.changed).set(i);
  }
}

// What compare() has seen is, or will be, what the entry holds of `run`; hashes(e) is there.
void Pager::bind_hashes(Extent& e, const StoreEntry& entry, PageRun run) {
  store_.forget_record(e);
  for (unsigned i = run.first; i < run.end(); ++i) e.hashes[i] = bound_to(content_[i], store_.place_in(entry, i).seed);
}

void Pager::finish_read(Transfer& t, int32_t result) {
  if (t.alone) return finish_alone(t, result);
  Extent& e = *t.extent;
  const PageSet all = PageSet::of(t.run);
  PageSet good;
  if (result == static_cast<int32_t>(t.run.count * kPageSize)) {
    verify(e, t.run, good);
  } else {
    budget_.counters().read_errors.fetch_add(1, std::memory_order_relaxed);
  }
  e.loading.remove(all);
  e.aside |= good;
  e.pristine |= good;
  ready_pages_ += good.pages();
  budget_.counters().loaded_bytes.fetch_add(to_bytes(good.pages()).count, std::memory_order_relaxed);
  const PageSet bad = all.minus(good);
  const PageSet asked = e.wanted & all;
  e.wanted.remove(all);
  if (bad.any()) touch_cold_count(bad.count());
  // Nobody asks for it yet where a tier in memory is read: the next touch reads it alone, and then it is lost.
  e.doubtful |= bad.count() > 1 || bad.minus(asked).any();
  // What failed in a larger piece is asked for once more, page by page and only if someone waits; then it is lost.
  for (unsigned i = bad.next(0); i < kPagesPerExtent; i = bad.next(i + 1)) {
    if (!asked.test(i)) continue;
    if (!t.retried && submit({.extent = &e, .run = {i, 1}, .write = false, .retried = true}, store_.place(e, i))) {
      e.loading.set(i);
      e.wanted.set(i);
      touch_cold_count(-1);
    } else {
      lost_page(e, i, result < 0 ? errno_name(-result) : "does not hold what was written to it");
    }
  }
  if (good.any() && e.away == Away::kNone) set_away(e, Away::kReady);
  const PageSet home = (asked | e.hot) & good;
  e.hot.remove(all);
  if (home.any()) move_home(e, e.read_ahead ? e.aside & e.pristine : home);
  // The kernel would not move some of it: copy what is waited for.
  for (unsigned i = home.next(0); i < kPagesPerExtent; i = home.next(i + 1))
    if (e.aside.test(i)) copy_from_slot(e, i);
  leave_slot_if_idle(e);
}

// The only copy of a page is gone: the thread that needs it gets SIGBUS, never a wrong byte.
void Pager::lost_page(Extent& e, unsigned i, const char* why) {
  const SlotPlace place = store_.place(e, i);
  budget_.counters().bad_pages.fetch_add(1, std::memory_order_relaxed);
  TextBuffer<240> text;
  text << "page " << e.page(i) << " is lost: the store file (descriptor " << place.fd << ") at offset " << place.offset
       << ' ' << why << "; the program gets SIGBUS where it reads it";
  log_text(LogLevel::kError, text.view());
  budget_.job().post(text.view());
  if (!ops_.poison(range_at(e.page(i), kPageSize)).ok()) {
    // Kernels before 6.6 cannot poison a page: the process is told itself.
    raw_syscall(SYS_kill, raw_syscall(SYS_getpid), 7 /* SIGBUS */);
  }
  touch_cold_count(-1);
  e.lost.set(i);
  e.resident.set(i);
  budget_.charge({1});  // as any resident page, to keep the sums simple
  if (e.queue == Queue::kNone) enqueue(e, Queue::kMain);
}

void Pager::finish_write(Transfer& t, int32_t result) {
  Extent& e = *t.extent;
  const PageSet all = PageSet::of(t.run);
  const PageSet asked = e.wanted & all;
  e.wanted.remove(all);
  e.writing.remove(all);
  leaving_ -= all.pages();
  Store::end_write(*t.entry);
  if (result == static_cast<int32_t>(t.run.count * kPageSize)) {
    store_.commit(e, *t.entry, all);
    const PageSet gone = (e.aside & all).minus(asked);
    left_aside(e, gone);
    touch_cold_count(gone.count());
    budget_.counters().written_bytes.fetch_add(to_bytes(all.pages()).count, std::memory_order_relaxed);
    budget_.counters().evicted_bytes.fetch_add(to_bytes(gone.pages()).count, std::memory_order_relaxed);
  } else {
    write_failed({result < 0 ? -result : EIO});
    store_.forget(e, all);  // whatever is in the file now, it is not to be trusted
  }
  // What a thread waits for, or what could not be written.
  if (const PageSet home = e.aside & all; home.any()) bring_home(e, home);
  leave_slot_if_idle(e);
}

}  // namespace ebb
