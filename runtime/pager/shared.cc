// Pages that processes share since a fork. Rules: see pager.h.
//
// After a fork both processes have the same pages until one writes; the kernel then makes a copy. Such a page is
// charged once: to the process that had it (it has *lent* it), not to the child (which has *borrowed* it). Both protect
// it against writes, so that the copy is charged before it is made. While a page is shared, evicting it in one process
// frees nothing and cannot be done by a move: it stays, and share() is preceded by shrink_for_fork(), which leaves a
// quarter of the budget to what is not shared. The kernel says who has a page alone again.
//
// A lent page that is given up while others may have it stays charged to the job (*orphaned*) until one of them has it
// alone or nobody borrows that much any more (Budget::settle_orphans). Errors are in one direction: too much is
// charged, for a while, never too little. See docs/decisions/0010-shared-pages-are-charged-once.md.
#include "pager/pager.h"

namespace ebb {
namespace {

constexpr uint8_t kMostLooks = 6;

// How many pages become private with a write: the more often it happens in an extent the more.
PageRun block_to_own(unsigned i, unsigned breaks) {
  constexpr unsigned kFirst = 8;
  return block_of(i, kFirst << (breaks < 2 ? 2 * breaks : 4));
}

}  // namespace

void Pager::share() {
  Pages more{};
  table_.for_all([&](Extent& e) {
    if (!e.armed && !arm_and_look(e)) return;  // not ours to watch: the child is charged for it
    const PageSet pages = e.resident.minus(e.lost);
    more += pages.minus(e.shared).pages();
    e.shared = pages;
    e.shared_at_ns = now_ns_;
    e.breaks = e.looks = 0;
  });
  budget_.lend(more);
  protect_shared();
  // A hook that runs on a stack in it, or waits there for the lock that we hold, must not wait for us. One that comes
  // now touches its stack before it takes the lock (StackHold), and waits there until the fork is over.
  table_.for_all([&](Extent& e) {
    if (__atomic_load_n(&e.held, __ATOMIC_SEQ_CST)) own_now(e, e.shared);
  });
}

void Pager::protect_shared() {
  const auto shared = [](const Extent& e) { return e.shared.any(); };
  for_each_armed_range(shared, [&](AddressRange range) {
    if (ops_.protect(range, true).ok()) return;
    // The program has taken something out of it by a raw system call.
    table_.for_each(range, [&](Extent& e) { protect(e, e.shared); });
  });
}

// A write to a shared page: what it is about to copy is charged first. False when that has to wait for room.
bool Pager::own(Extent& e, unsigned i) {
  if (e.shared.test(i)) look_who_shares(e);
  if (!e.shared.test(i)) return written(e, i), true;  // clean, or private already, or gone: the thread looks again
  PageSet pages = e.shared & PageSet::of(block_to_own(i, e.breaks));
  if (!make_room(pages.pages())) {
    pages = PageSet::of({i, 1});
    if (!make_room({1})) return false;
  }
  const Pages charged = pages.pages();
  pages = pages & e.shared;  // making room looks at who shares what, too
  budget_.release(charged - pages.pages());
  if (e.breaks < 2) ++e.breaks;
  own_charged(e, pages);
  if (!pages.test(i)) unprotect(e, PageSet::of({i, 1}));
  return true;
}

// `pages`, all shared, become this process's own; the copies that writes to them make are charged already.
void Pager::own_charged(Extent& e, const PageSet& pages) {
  give_up(e, pages);
  unprotect(e, pages);
}

// `pages`, all shared, are shared by this process no more; others may have them still.
void Pager::give_up(Extent& e, const PageSet& pages) {
  const PageSet borrowed = pages & e.borrowed;
  budget_.orphan(pages.minus(borrowed).pages());
  budget_.give_back(borrowed.pages());
  e.shared.remove(pages);
  e.borrowed.remove(pages);
}

// As own_charged(), at once, room or not: the mapping is about to lose its protection.
void Pager::own_now(Extent& e, const PageSet& pages) {
  if (pages.none()) return;
  look_who_shares(e);
  const PageSet left = pages & e.shared;
  budget_.charge(left.pages());
  own_charged(e, left);
  unprotect(e, pages.minus(left));
}

// What no other process has any more is an ordinary page again.
void Pager::look_who_shares(Extent& e) {
  e.shared_at_ns = now_ns_;
  const PageSet alone = e.shared & ops_.exclusive(e.base);
  if (alone.none()) {
    if (e.looks < kMostLooks) ++e.looks;
    return;
  }
  e.looks = 0;
  const PageSet borrowed = alone & e.borrowed;
  budget_.keep(alone.minus(borrowed).pages());
  budget_.adopt(borrowed.pages());
  e.shared.remove(alone);
  e.borrowed.remove(alone);
  unprotect(e, alone);
}

void Pager::protect(const Extent& e, const PageSet& pages) {
  pages.for_each_run([&](PageRun run) { (void)ops_.protect(e.range(run), true); });
}

void Pager::unprotect(Extent& e, PageSet pages) {
  e.clean.remove(pages);
  pages.for_each_run([&](PageRun run) { (void)ops_.protect(e.range(run), false); });
}

// `pages` are resident no more.
void Pager::release_resident(Extent& e, const PageSet& pages) {
  const PageSet shared = e.shared & pages;
  e.resident.remove(pages);
  e.clean.remove(pages);
  budget_.release(pages.minus(shared).pages());
  if (shared.any()) give_up(e, shared);  // the job's sums are not touched for nothing
}

}  // namespace ebb
