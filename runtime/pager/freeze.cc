// Freezing: what a snapshot asks of the pager. Rules: see pager.h.
//
// Everything goes to the store and stays readable at its place all the time: first written ahead while the program
// runs, then, with the program stopped, whatever has changed since; then the store's files are mapped privately where
// the pages were. Such memory needs no pager, and no CRIU stores it: only what the program writes to from then on. The
// way back keeps what was written and makes the rest cold pages again.
//
// For the stop only what is not clean is left to be looked at (clean.cc).
//
// Pages that the program protected or locked stay what they are, and are for CRIU to store.
#include <cerrno>

#include "base/check.h"
#include "pager/pager.h"

namespace ebb {
namespace {

// Neighbouring ranges of one file, mapped with one call: each mapping costs the kernel and CRIU some microseconds.
class FileMapper {
 public:
  explicit FileMapper(PageOps& ops) : ops_(ops) {}
  Errno add(AddressRange range, const SlotPlace& place) {
    if (range.begin == range_.end && place.fd == fd_ && place.offset == offset_ + range_.size()) {
      range_.end = range.end;
      return {};
    }
    const Errno failed = flush();
    range_ = range;
    fd_ = place.fd;
    offset_ = place.offset;
    return failed;
  }
  Errno flush() {
    if (range_.empty()) return {};
    const AddressRange range = range_;
    range_ = {};
    return ops_.map_file(range, fd_, offset_);
  }

 private:
  PageOps& ops_;
  AddressRange range_{};
  int fd_ = -1;
  uint64_t offset_ = 0;
};

// What of neighbouring extents is the process's own, asked for in as few calls as there is little of it.
class OwnedPages {
 public:
  OwnedPages(PageOps& ops, const ExtentTable& table) : ops_(ops), table_(table) {}
  // Of extents in the order of their addresses.
  PageSet of(const Extent& e) {
    if (e.base >= known_.end) {
      known_ = range_at(e.base, kExtentSize);
      while (known_.size() < kMost && table_.find(known_.end)) known_.end = known_.end + kExtentSize;
      look_from(known_.begin);
    }
    PageSet pages;
    const Address end = e.base + kExtentSize;
    while (at_ < count_ && runs_[at_].begin < end) {
      const AddressRange& run = runs_[at_];
      const Address first = run.begin < e.base ? e.base : run.begin, last = run.end < end ? run.end : end;
      if (first < last) pages.set(PageRun{first.page_in_extent(), static_cast<unsigned>((last - first) >> kPageShift)});
      if (run.end > end) break;
      if (++at_ == kRuns) look_from(Address{run.end});
    }
    return pages;
  }

 private:
  static constexpr unsigned kRuns = 64;
  static constexpr uint64_t kMost = uint64_t{1} << 30;

  void look_from(Address from) {
    at_ = 0;
    count_ = from < known_.end ? ops_.owned({from, known_.end}, runs_, kRuns) : 0;
  }

  PageOps& ops_;
  const ExtentTable& table_;
  AddressRange known_{};
  AddressRange runs_[kRuns];
  unsigned at_ = 0, count_ = 0;
};

}  // namespace

// What the kernel keeps, and CRIU has to store.
PageSet Pager::kept(const Extent& e) { return (e.fenced | e.pinned) & e.managed; }

// What is mapped from the store's files.
PageSet Pager::given(const Extent& e) { return (e.managed & e.stored).minus(kept(e)); }

bool Pager::want_kept() {
  bool any = false;
  table_.for_all([&](Extent& e) {
    if (!e.armed || !(e.cold() & kept(e)).any()) return;
    any = true;
    (e.cold() & kept(e)).for_each_run([&](PageRun run) { want(e.range(run)); });
  });
  return any;
}

Errno Pager::store_all(char* buffer) {
  EBB_CHECK(drained());
  Errno failed{};
  slots_.drop_spare({UINT64_MAX});
  table_.for_all([&](Extent& e) {
    if (failed || e.managed.none()) return;
    if (!e.armed && !arm_and_look(e)) failed = {EBUSY};
    if (!failed && e.lost.any()) failed = {EIO};
    if (!failed && (e.cold() & kept(e)).any()) failed = {EAGAIN};
    if (failed) return;
    // Nothing may change from here on, even if the tool dies that has stopped the threads: a write waits, and is made
    // to what will be mapped there.
    const PageSet pages = e.resident.minus(e.clean).minus(kept(e));
    protect(e, pages.minus(e.shared));
    failed = store_resident(e, pages, buffer, Cache::kThrough);
    if (failed) return unprotect(e, pages.minus(e.shared));
    e.clean |= pages;
    store_.trim(e);
  });
  table_.for_all([&](Extent& e) {
    if (!failed) failed = record(e);
  });
  return failed;
}

// What waited for pages that are in the mapped files now, or for writing to them, looks again.
void Pager::disarm_rest() {
  table_.for_all([&](Extent& e) {
    if (!e.armed) return;
    const PageSet files = e.sealed ? given(e) : PageSet{};
    e.managed.minus(files).for_each_run([&](PageRun run) { (void)ops_.disarm(e.range(run)); });
  });
  for_each_armed_range([](const Extent&) { return true; }, [&](AddressRange range) { ops_.wake(range); });
}

Errno Pager::map_store() {
  Pages all{};
  table_.for_all([&](Extent& e) {
    all += given(e).pages();
    e.hashes = nullptr;  // the store has them: no snapshot need hold them
  });
  hash_pool_.drop_all();
  ops_.keep_replaced(to_bytes(all));
  FileMapper mapper(ops_);
  Errno failed{};
  table_.for_all([&](Extent& e) {
    if (failed || e.managed.none()) return;
    e.sealed = true;
    const PageSet files = given(e);
    const PageSet zeros = e.resident.minus(files).minus(kept(e));
    zeros.for_each_run([&](PageRun run) { ops_.discard(e.range(run)); });
    files.for_each_run([&](PageRun run) {
      while (run.count && !failed) {
        const unsigned n = store_.contiguous(e, run.first, run.count);
        failed = mapper.add(e.range({run.first, n}), store_.place(e, run.first));
        run = {run.first + n, run.count - n};
      }
    });
    const PageSet left = e.resident & files;
    e.hot = prefetching_ ? left | (e.hot & files) : left;
    release_resident(e, left | zeros);
    touch_cold_count(left.count());
    e.huge = false;
    if (e.resident.none()) dequeue(e);
  });
  return failed ? failed : mapper.flush();
}

// They are read when they are asked for, and there is memory for them then.
Errno Pager::expect_hashes() {
  uint64_t count = 0;
  Store::RecordsAhead ahead(store_);
  table_.for_all([&](Extent& e) {
    ahead.add(e);
    count += e.stored.any() && !e.hashes;
  });
  return hash_pool_.reserve(count) ? Errno{} : Errno{ENOMEM};
}

Errno Pager::take_back(char* buffer) {
  now_ns_ = clock_.now_ns();  // of another machine's start, perhaps
  store_blocked_until_ns_ = starved_since_ns_ = random_ns_ = 0;
  // What was worth it in another phase of the program may cost a megabyte a touch in this one; and a program that comes
  // back touches a little of much first.
  neighbours_ = Neighbours(Neighbours::kMost, 4);
  Errno failed = expect_hashes();
  AddressRange empty{};  // neighbouring ranges without anything to keep
  const auto flush = [&] {
    if (!failed && !empty.empty()) failed = ops_.map_empty(empty);
    empty = {};
  };
  OwnedPages owned(ops_, table_);
  table_.for_all([&](Extent& e) {
    if (failed || e.managed.none()) return;
    e.keep_until_ns = e.shared_at_ns = 0;
    e.clean = {};  // nothing is protected any more, what was kept included
    const PageSet files = e.sealed ? given(e).minus(e.resident) : PageSet{};
    e.sealed = false;
    const PageSet here = owned.of(e) & e.managed;
    // Threads that wait for the lock we hold touch their stacks once they have it (StackHold).
    const PageSet saved = __atomic_load_n(&e.held, __ATOMIC_SEQ_CST) ? files : files & here;
    if (saved.none()) {
      files.for_each_run([&](PageRun run) {
        if (e.range(run).begin != empty.end) flush();
        empty = empty.empty() ? e.range(run) : AddressRange{empty.begin, e.range(run).end};
      });
    } else {
      flush();
      saved.for_each_run([&](PageRun run) {
        ops_.peek(buffer + run.first * kPageSize, e.page(run.first), Bytes{run.count * kPageSize});
      });
      files.for_each_run([&](PageRun run) {
        if (!failed) failed = ops_.map_empty(e.range(run));
      });
      if (!failed) failed = arm_extent(e);
      saved.for_each_run([&](PageRun run) {
        if (failed) return;
        failed = ops_.copy(e.page(run.first), buffer + run.first * kPageSize, Bytes{run.count * kPageSize}).error;
      });
      if (failed) return;
    }
    const PageSet more = (saved | here.minus(files)).minus(e.resident);
    touch_cold_count(-int64_t{(more & e.stored).count()});
    e.resident |= more;
    budget_.charge(more.pages());
    if (e.resident.any() && e.queue == Queue::kNone) enqueue(e, Queue::kMain);
  });
  flush();
  for_each_armed_range([](const Extent&) { return true; },
                       [&](AddressRange range) {
                         if (!failed && !ops_.arm(range).ok()) failed = rearm(range);
                       });
  return failed;
}

void Pager::begin_prefetch() {
  constexpr uint64_t kFirstAnswerNs = 200'000'000;
  prefetch_at_ = {};
  prefetching_ = true;
  prefetch_waits_until_ns_ = now_ns_ + kFirstAnswerNs;
}

void Pager::let_all_go() { remove(kAllAddresses, false); }

}  // namespace ebb
