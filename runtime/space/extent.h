// Extent: what the runtime knows of one 2 MiB-aligned piece of address space in which pages are managed. The unit of
// state; the page is the unit of truth.
//
// An extent is *unarmed* (the kernel answers its faults; all managed pages count as resident) or *armed* (missing pages
// fault to the pager). A managed page of an armed extent is in exactly one of these conditions:
//   resident            present at its own address
//   aside               present in the extent's slot, out of the program's sight: in limbo, or read ahead
//   aside and writing   as before, on its way to the store
//   resident and writing  touched meanwhile: a copy is at its own address
//   loading             on its way from the store into the slot
//   cold                none of these, but stored
//   empty               none of these: reads as zeros
// `stored` says that the store holds a copy whose hash is known; for a resident or aside page it may be out of date.
//
// Passive data, guarded by the state lock; the transitions are the pager's.
#pragma once

#include <cstdint>

#include "base/hash.h"
#include "base/page_set.h"
#include "base/units.h"
#include "policy/calm.h"

namespace ebb {

struct StoreEntry;

inline constexpr uint32_t kNoSlot = ~uint32_t{0};

// The place of 512 hashes in a layer of the store; `layer` is kNoLayer while there is none.
inline constexpr uint16_t kNoLayer = ~uint16_t{0};
struct RecordPlace {
  uint32_t area = 0;
  uint16_t layer = kNoLayer;
  uint16_t slot = 0;
};

// Which queue an extent waits in for its turn to be looked at.
enum class Queue : uint8_t { kNone, kMain, kProbation };

// Which queue an extent with pages out of sight waits in: to be evicted, or to be touched after it was read ahead.
enum class Away : uint8_t { kNone, kLimbo, kReady };

// The sets that are empty in an extent whose pages only lie there. They are apart from the records, in pages of their
// own: what a snapshot stores of a large heap's records is little then (ExtentTable::for_each_empty_part()).
struct RareSets {
  PageSet aside;
  PageSet pristine;   // subset of aside: as loaded, the program has not seen it since
  PageSet unchanged;  // subset of aside: was clean when it went there
  PageSet sample;     // where aside or cold: its group counts as used when it is touched (see policy/neighbours.h)
  PageSet writing;    // the slot's page is on its way to the store, and stays until it is there
  PageSet loading;
  PageSet wanted;    // subset of loading and writing: a thread waits for it
  PageSet fenced;    // protected by the program (not read-write): filled by copy, never evicted
  PageSet pinned;    // locked by the program (mlock): never evicted
  PageSet lost;      // subset of resident: there is a mark instead of the page, which raises SIGBUS
  PageSet shared;    // subset of resident: write-protected by us since a fork, never evicted (see pager/shared.cc)
  PageSet borrowed;  // subset of shared: charged to another process of the job
};

struct Extent {
  explicit Extent(RareSets& sets) : rare(sets) {}
  Extent(const Extent&) = delete;
  Extent& operator=(const Extent&) = delete;
  ~Extent() = default;

  Address base;
  PageSet managed;
  PageSet resident;
  PageSet stored;
  PageSet hot;    // were resident when a snapshot was taken: to be brought back ahead of need
  PageSet clean;  // subset of resident: as the store has it, or zero, and write-protected by us (pager/clean.cc)

  RareSets& rare;
  PageSet& aside = rare.aside;
  PageSet& pristine = rare.pristine;
  PageSet& unchanged = rare.unchanged;
  PageSet& sample = rare.sample;
  PageSet& writing = rare.writing;
  PageSet& loading = rare.loading;
  PageSet& wanted = rare.wanted;
  PageSet& fenced = rare.fenced;
  PageSet& pinned = rare.pinned;
  PageSet& lost = rare.lost;
  PageSet& shared = rare.shared;
  PageSet& borrowed = rare.borrowed;

  StoreEntry* store = nullptr;  // where `stored` pages are, newest layer first
  PageHash* hashes = nullptr;   // 512, with the first stored page; null also while only the store has them (see record)
  RecordPlace record;           // where the store keeps a copy of the hashes
  uint32_t slot = kNoSlot;

  bool armed = false;
  bool huge = false;            // resident as one huge page, as far as we know
  bool sealed = false;          // its stored pages are, or were to be, mapped from the store's files (pager/freeze.cc)
  bool heap = false;            // belongs to our own heap
  bool urgent = false;          // in limbo without a probing time: evict at once
  bool given = false;           // the budget gave way for what a thread waits for here
  bool doubtful = false;        // a read of several pages failed here: one at a time from now on
  bool read_ahead = false;      // has pages in the slot that a stream is expected to touch
  uint8_t heat = 0;             // how often in a row it was found in use, or missed soon
  uint8_t skip = 0;             // rounds of the clock that it is left alone
  uint16_t transfers = 0;       // I/O requests under way
  uint16_t frozen = 0;          // a hook works on it: nothing new starts
  uint32_t held = 0;            // hooks that run on a stack in it; atomic, without the lock: never evicted meanwhile
  uint8_t breaks = 0;           // writes to shared pages since the fork
  uint32_t left_at = 0;         // the number of its last eviction; 0: missed since
  uint8_t looks = 0;            // how often it was seen that others have all of them still, up to a limit
  uint16_t touches = 0;         // pages returned from limbo since it went aside
  uint64_t aside_since_ns = 0;  // in limbo by the clock of limbo, which stands while threads wait
  uint64_t shared_at_ns = 0;    // when it was last looked at who shares its pages
  Calm calm;                    // whether it is worth being cleaned
  uint64_t keep_until_ns = 0;   // not evicted before: given over the budget to a thread that has to run first

  Queue queue = Queue::kNone;
  Extent* next = nullptr;  // in `queue`
  Extent* prev = nullptr;
  Away away = Away::kNone;
  Extent* away_next = nullptr;  // in `away`
  Extent* away_prev = nullptr;

  AddressRange range(PageRun run) const {
    return range_at(base + run.first * kPageSize, uint64_t{run.count} * kPageSize);
  }
  Address page(unsigned i) const { return base + uint64_t{i} * kPageSize; }
  // Pages whose newest content is in the store only.
  PageSet cold() const { return stored.minus(resident).minus(aside).minus(loading) & managed; }
  // Pages that never were touched, or were given back.
  PageSet empty() const { return managed.minus(resident).minus(aside).minus(loading).minus(stored); }
  // Every page is at its own address, in the store or empty, and stays there while the state lock is held.
  bool at_rest() const { return !transfers && !frozen && slot == kNoSlot; }
  // Whether its pages could be one huge page at their own address.
  bool can_be_huge() const {
    return armed && managed.full() && fenced.none() && pinned.none() && lost.none() && shared.none();
  }
  PageSet evictable() const { return resident.minus(fenced).minus(pinned).minus(lost).minus(shared); }
};

// A list of extents through one of their two pairs of links.
template <Extent* Extent::*Next, Extent* Extent::*Prev>
class ExtentList {
 public:
  Extent* front() const { return head_; }
  uint64_t size() const { return size_; }
  bool empty() const { return !head_; }
  void push_back(Extent& e) {
    e.*Next = nullptr;
    e.*Prev = tail_;
    (tail_ ? tail_->*Next : head_) = &e;
    tail_ = &e;
    ++size_;
  }
  void push_front(Extent& e) {
    e.*Prev = nullptr;
    e.*Next = head_;
    (head_ ? head_->*Prev : tail_) = &e;
    head_ = &e;
    ++size_;
  }
  void remove(Extent& e) {
    (e.*Prev ? (e.*Prev)->*Next : head_) = e.*Next;
    (e.*Next ? (e.*Next)->*Prev : tail_) = e.*Prev;
    e.*Next = e.*Prev = nullptr;
    --size_;
  }

 private:
  Extent* head_ = nullptr;
  Extent* tail_ = nullptr;
  uint64_t size_ = 0;
};

using ResidentList = ExtentList<&Extent::next, &Extent::prev>;
using AwayList = ExtentList<&Extent::away_next, &Extent::away_prev>;

}  // namespace ebb
