// The pager's rounds, queues and arming. Rules: see pager.h.
#include "pager/pager.h"

#include "base/check.h"

namespace ebb {
namespace {

constexpr uint64_t kAskAgainNs = 500'000;        // something waits for room
constexpr uint64_t kRipensNs = 2'000'000;        // what is in limbo may go
constexpr unsigned kStalledRate = 8;             // so much slower limbo ages while a thread waits for the store
constexpr uint64_t kHeldNs = 1'000'000;          // prefetch() waits for threads that wait
constexpr uint64_t kSiblingsNs = 20'000'000;     // other processes of the job may need room
constexpr uint64_t kNothingNs = 10'000'000'000;  // nobody does

}  // namespace

Result<void> Pager::open(AddressRange slot_range, IoQueue* io) {
  EBB_CHECK(drained());
  io_ = io;
  const auto opened = slots_.open(slot_range);
  if (!opened.ok()) return opened;
  if (!scratch_) {
    const auto pages = arena_.make_array<char>((kScratchPages + kAlone) * kPageSize);
    if (!pages) return Errno{ENOMEM};
    scratch_ = pages;
    alone_ = pages + kScratchPages * kPageSize;
  }
  alone_free_ = ~uint64_t{0};
  waiters_.clear();
  parked_count_ = 0;
  starved_ = false;
  paged_ = true;
  return {};
}

void Pager::step() {
  const uint64_t before = now_ns_;
  now_ns_ = clock_.now_ns();
  // A thread that waits touches nothing: what it would have touched must not look unused.
  run_ns_ += (now_ns_ - before) / (stalled_ ? kStalledRate : 1);
  busy_ = gave_way_ = unripe_ = false;
  take_parked();
  reap();
  read_faults();
  if (draining_) {
    // Nothing new begins. Everything home or away: limbo returns, what was read ahead is dropped.
    for (AwayList* list : {&ready_, &limbo_}) {
      for (uint64_t n = list->size(); n; --n) {
        Extent& e = *list->front();
        drop_pristine(e);
        if (freezing_) drop_unchanged(e);
        settle_extent(e);
      }
    }
    EBB_CHECK(!drained() || slots_.used() == 0);
  } else {
    serve_waiters();
    read_ahead();
    if (prefetching_ && !freezing_) prefetch();
    balance();
    if (starved_) serve_waiters();
  }
  if (io_) io_->flush();
}

uint64_t Pager::idle_ns() const {
  if (busy_) return 0;
  if (starved_ || !waiters_.empty()) return kAskAgainNs;
  if (unripe_) return kRipensNs;
  if (prefetching_ && (prefetch_held_ || freezing_)) return kHeldNs;
  return budget_.shared() || budget_.room() < 0 ? kSiblingsNs : kNothingNs;
}

void Pager::enqueue(Extent& e, Queue q) {
  EBB_CHECK(e.queue == Queue::kNone);
  e.queue = q;
  (q == Queue::kMain ? main_ : probation_).push_back(e);
}

void Pager::dequeue(Extent& e) {
  if (e.queue == Queue::kNone) return;
  (e.queue == Queue::kMain ? main_ : probation_).remove(e);
  e.queue = Queue::kNone;
}

// It is used otherwise than by a scan, too.
void Pager::promote(Extent& e) {
  dequeue(e);
  enqueue(e, Queue::kMain);
}

void Pager::set_away(Extent& e, Away away, bool front) {
  if (e.away != Away::kNone) (e.away == Away::kLimbo ? limbo_ : ready_).remove(e);
  e.away = away;
  if (away == Away::kNone) {
    e.urgent = false;
    return;
  }
  e.aside_since_ns = away == Away::kLimbo ? run_ns_ : now_ns_;
  AwayList& list = away == Away::kLimbo ? limbo_ : ready_;
  front ? list.push_front(e) : list.push_back(e);
}

void Pager::touch_cold_count(int64_t pages) {
  cold_pages_ += pages;
  budget_.set_cold({static_cast<uint64_t>(cold_pages_ > 0 ? cold_pages_ : 0)});
}

Errno Pager::arm_extent(Extent& e) {
  Errno failed{};
  e.managed.for_each_run([&](PageRun run) {
    if (failed) return;
    const auto r = ops_.arm(e.range(run));
    if (!r.ok()) failed = r.error();
  });
  if (!failed) e.armed = true;
  return failed;
}

void Pager::disarm_extent(Extent& e) {
  e.managed.for_each_run([&](PageRun run) { (void)ops_.disarm(e.range(run)); });
  e.armed = false;
  e.clean = {};
}

// Read ahead and not touched: the store has it.
void Pager::drop_pristine(Extent& e) {
  const PageSet gone = e.aside & e.pristine;
  left_aside(e, gone);
  touch_cold_count(gone.count());
  leave_slot_if_idle(e);
}

// What waits to be evicted, and is in the store as it is: at home it would have to be looked at again.
void Pager::drop_unchanged(Extent& e) {
  const PageSet gone = same_in_store(e).minus(e.writing);
  left_aside(e, gone);
  touch_cold_count(gone.count());
  budget_.counters().evicted_bytes.fetch_add(to_bytes(gone.pages()).count, std::memory_order_relaxed);
  leave_slot_if_idle(e);
}

// Pages out of sight of which the store is known to hold the same, and can tell.
PageSet Pager::same_in_store(const Extent& e) { return e.hashes ? e.unchanged & e.stored : PageSet{}; }

// `pages` are not out of sight any more: at home, in the store only, or given up.
void Pager::left_aside(Extent& e, const PageSet& pages) {
  ready_pages_ -= (e.pristine & pages).pages();
  e.aside.remove(pages);
  e.pristine.remove(pages);
  e.unchanged.remove(pages);
}

// Everything that is out of sight comes home, except what is being written: that is waited for.
void Pager::settle_extent(Extent& e) {
  // A page whose write is under way must stay: the kernel may not have looked at it yet.
  if (const PageSet back = e.aside.minus(e.writing); back.any()) bring_home(e, back);
  // What the kernel has no memory for just now waits at the end of its queue.
  if (e.away != Away::kNone) set_away(e, e.aside.minus(e.writing).none() ? Away::kNone : e.away);
  leave_slot_if_idle(e);
}

void Pager::set_inherited(bool on) {
  for_each_armed_range([](const Extent&) { return true; }, [&](AddressRange range) { ops_.inherit(range, on); });
}

void Pager::recount() {
  Pages managed{}, resident{}, borrowed{};
  table_.for_all([&](Extent& e) {
    managed += e.managed.pages();
    resident += e.resident.minus(e.shared).pages();
    borrowed += e.shared.pages();
    e.borrowed = e.shared;
    e.frozen = 0;  // the hooks that froze it were other threads
    e.held = 0;    // and so were those that run in it; the one that forks touches its stack, which is at home
  });
  budget_.add_managed(managed);
  budget_.charge(resident);
  budget_.borrow(borrowed);
  touch_cold_count(0);
}

Errno Pager::rearm(AddressRange range) {
  Errno failed{};
  table_.for_each(range, [&](Extent& e) {
    if (failed || !e.armed) return;
    failed = arm_extent(e);
  });
  return failed;
}

}  // namespace ebb
