// Pager: the state machine that moves pages between their own address, their extent's slot and the store. It decides
// when (faults, read-ahead, eviction) and does it through PageOps and IoQueue; policy/ has the judgement.
//
// Threads: everything here runs under the state lock. step() and io() are the pager thread's; the range operations are
// for hooks, which first make sure that no transfer is under way in the range (settled()).
//
// Rules: never touches managed memory at its own address (a missing page there would wait for this very code); never
// allocates but from its arena; every transition keeps the sums of Budget and the sets of Extent true.
//
// Sources: limbo and read-back by UFFDIO_MOVE: Documentation/admin-guide/mm/userfaultfd.rst; second chance: Corbato,
// "A paging experiment with the Multics system", 1968; scan resistance by a probation queue: Johnson and Shasha, "2Q",
// VLDB 1994.
#pragma once

#include "base/arena.h"
#include "os/kernel.h"
#include "pager/budget.h"
#include "pager/hash_pool.h"
#include "pager/slots.h"
#include "policy/neighbours.h"
#include "policy/streams.h"
#include "policy/strides.h"
#include "space/extent_table.h"
#include "store/store.h"

namespace ebb {

class Pager {
 public:
  constexpr Pager(Arena& arena, ExtentTable& table, Store& store, Budget& budget, PageOps& ops, Clock& clock)
      : arena_(arena),
        table_(table),
        store_(store),
        budget_(budget),
        ops_(ops),
        clock_(clock),
        slots_(arena, ops, budget) {}

  // Slots live in `slot_range` (mapped, nothing present); `io` is the pager thread's queue, null on byte-addressable
  // tiers. From now on new ranges are armed from birth. Called again in a fork child with everything drained.
  Result<void> open(AddressRange slot_range, IoQueue* io);
  bool paged() const { return paged_; }
  // Memory of ours that holds nothing between two steps once all is drained. Whole pages.
  AddressRange scratch() const {
    return range_at({reinterpret_cast<uint64_t>(scratch_)}, (kScratchPages + kAlone) * kPageSize);
  }
  // Undoes open(): no thread could be started.
  void abandon() { paged_ = false; }

  // --- the pager thread -------------------------------------------------------------------------------------------
  // One round: faults, completions, read-ahead, eviction.
  void step();
  // How long the thread may sleep if nothing happens; 0: call step() again at once.
  uint64_t idle_ns() const;
  uint64_t now_ns() const { return now_ns_; }  // of the last step()
  // No transfer under way and nothing out of sight: every page is at its own address or in the store. Call step() with
  // draining() on until this holds.
  bool drained() const { return !transfers_ && limbo_.empty() && ready_.empty(); }
  void set_draining(bool on) { draining_ = on; }
  // While the process forks, with everything drained and the state lock held by the thread that forks: answers the
  // faults of that `thread` alone. It cannot be copying the process while it waits, so what changes here is in the
  // child, too; whatever changes is recorded before the thread is woken. Others wait for the next step().
  void answer_parked(uint32_t thread);
  // Evicts until what the job's processes will share is at most three quarters of the budget, or nothing more can go:
  // the rest is for what they write.
  void shrink_for_fork();
  // In the process that is about to fork, drained and with its pager parked: what is resident will be shared with the
  // child, and is charged once.
  void share();
  // In a fork child, armed again: as in its parent, a write to what is shared is ours to answer.
  void protect_shared();
  bool short_of_room() const { return budget_.room() < static_cast<int64_t>(headroom().count); }
  // Around a fork that we know of: whether the child gets what is armed.
  void set_inherited(bool on);
  // Arms again what is armed in `range`: a fork or a move of the mapping ended it. In a fork child, after open(), for
  // all of the address space. An error means that the process cannot go on.
  Errno rearm(AddressRange range);
  // In a fork child, with a fresh share: what it has with its parent is borrowed, all else that it holds is charged.
  void recount();

  // --- hooks --------------------------------------------------------------------------------------------------------
  // Begins to manage `range`, freshly mapped and empty. False when there is no memory for its records.
  bool add(AddressRange range, bool heap);
  // Whether no transfer is under way in `range`. freeze() keeps new ones from starting until thaw().
  bool settled(AddressRange range);
  void freeze(AddressRange range);
  void thaw(AddressRange range);
  // Contents of `range` are given back: stored copies forgotten, pages out of sight dropped. The caller then drops
  // those at their own address (madvise, munmap).
  void forget(AddressRange range);
  // Ends management of `range`. With `keep`, its pages stay where they are and none may be cold: for memory that the
  // program goes on using. Otherwise contents are given back as by forget().
  void remove(AddressRange range, bool keep);
  // The program's protection of `range` is about to be, or is, something other than read-write.
  void fence(AddressRange range, bool on);
  // Locked pages are never evicted.
  void pin(AddressRange range, bool on);
  bool any_cold(AddressRange range);
  // Asks for cold pages of `range` as a fault would, a few hundred at a time.
  void want(AddressRange range);
  bool any_managed(AddressRange range);
  bool any_pinned(AddressRange range);
  // Stored or out of sight, for mincore.
  bool elsewhere(Address page) const;
  // Brings pages that are out of sight in `range` home, so that the mapping itself can be moved.
  void settle_home(AddressRange range);
  // Learns which pages of `range`, just added, exist already.
  void look(AddressRange range);
  // Forgets the store's copies of resident pages.
  void forget_copies(AddressRange range);
  // Moves the records of `from` to `to`, which has the same position within its extents; the kernel's mapping has been
  // moved already. Nothing is out of sight in `from`.
  bool rekey(AddressRange from, Address to);

  // --- snapshots (clean.cc, freeze.cc), by the pager's thread
  // -----------------------------------------------------------------
  struct CleanWalk {
    Address next{};
    Pages done{};
    Pages written{};  // or at least looked at
    Errno error{};
    bool calm_only = false;     // leave out what the program has changed lately
    bool brought_home = false;  // something that nobody had missed: the next walk can clean it
  };
  // Writes what the store lacks of one more extent, while the program runs; `buffer`, aligned to a page, has room for
  // an extent. True when the walk is over, or has failed.
  bool clean_ahead(CleanWalk& walk, char* buffer);
  // No thread waits and no transfer is under way.
  bool quiet() const { return waiters_.empty() && !transfers_ && !starved_ && !busy_; }
  // Asks for pages that have to be at home (protected or locked by the program); whether there are any that are not.
  bool want_kept();
  // With the program stopped and all drained: writes all that the store lacks. EIO: a page is lost. EAGAIN: see
  // want_kept(). EBUSY: memory that the kernel does not let us watch. Else as of a write; nothing has changed then.
  Errno store_all(char* buffer);
  // Then, with the store's files open for mapping: maps them where the pages were. Whoever touches a page meanwhile
  // waits. After an error, take_back() mends all. What was there is freed by free_replaced(), as PageOps' own.
  Errno map_store();
  void free_replaced() { ops_.free_replaced(); }
  // Then: nothing of the process faults to us any more.
  void disarm_rest();
  // The way back, with the program stopped, and all open that open() needs. An error means that the process cannot go
  // on.
  Errno take_back(char* buffer);
  // Brings back what was resident before, ahead of need and as far as there is room.
  void begin_prefetch();
  // While a snapshot is being taken nothing is brought back: it would have to be looked at.
  void set_freezing(bool on) { freezing_ = on; }
  // Instead of take_back(), with the program running: all that was managed is its own memory now.
  void let_all_go();

  // --- merging (merge.cc), by the pager's thread --------------------------------------------------------------------
  struct MergeWalk {
    int layer = -1;  // that is emptied
    Address next{};
    bool left_out = false;
  };
  // Moves what one more extent has in the store's smallest sealed layer to the one that is written to; `buffer` as for
  // clean_ahead(). True when the layer is empty, or cannot be emptied now: `walk` is to begin anew then.
  bool merge_step(MergeWalk& walk, char* buffer);
  // For snapshots: what extents have in many pieces of many layers costs a mapping each, and a descriptor to restore
  // it. How many more of them than it has to have an extent may have, so that all of them together stay below what a
  // process can have.
  unsigned most_pieces();
  // Puts together what one more extent has in more pieces than that. True when the walk from `next` on is over.
  bool gather_step(Address& next, unsigned most, char* buffer);

  Bytes own_bytes() const { return arena_.used() + hash_pool_.used(); }

 private:
  struct Transfer {
    Extent* extent;
    PageRun run;
    bool write;
    bool retried = false;
    StoreEntry* entry = nullptr;  // of a write
    char* alone = nullptr;        // of a read of one page: a buffer of ours instead of the extent's slot
    Transfer* next_free = nullptr;
  };
  static constexpr unsigned kScratchPages = 64;
  static constexpr unsigned kParkedFaults = 64;
  static constexpr unsigned kAlone = 64;
  static constexpr unsigned kMainShare = 8;
  static constexpr uint64_t kKeepNs = 20'000'000;  // what a thread may need to run again
  struct Waiter {
    Address page;
    uint64_t since_ns;
    bool seen = false;    // was looked at, and had to wait
    bool write = false;   // the page is there, and protected by us
    uint16_t offset = 0;  // in the page, of what was touched
  };

  // clean.cc
  Errno record(Extent& e);
  Errno store_resident(Extent& e, const PageSet& pages, char* buffer, Cache cache);
  bool is_calm(Extent& e);
  static PageSet around_write(const Extent& e, unsigned i);
  void written(Extent& e, unsigned i);

  // merge.cc
  bool merge(Extent& e, const StoreEntry& from, char* buffer);
  unsigned spare_pieces(const Extent& e);

  // freeze.cc
  Errno expect_hashes();
  static PageSet kept(const Extent& e);
  static PageSet given(const Extent& e);

  // parked.cc
  bool fill_parked(Extent& e, unsigned i);
  void take_parked();

  // faults.cc
  void read_faults();
  void serve_waiters();
  bool serve(const Waiter& w, Extent* e);
  void keep(Extent& e, bool there);
  void walked(const Extent& e, unsigned i, const PageSet& there);
  static void goes_on(Stream& s, const Extent& e, unsigned i, const PageSet& there);
  PageSet group_without_sample(Extent& e, unsigned i, const PageSet& group, const PageSet& samples, Neighbours& judge);
  void take_sample(Extent& e, const PageSet& pages, unsigned i, Neighbours& judge);
  bool bring_back(Extent& e, unsigned i);
  bool copy_from_slot(Extent& e, unsigned i);
  void move_home(Extent& e, const PageSet& pages);
  void bring_home(Extent& e, const PageSet& pages);
  bool gather(Extent& e);
  void recheck(Extent& e, unsigned i);
  void answered(Extent& e, PageRun run);
  void leave_slot_if_idle(Extent& e);

  // fill.cc
  bool grant_zeros(Extent& e, unsigned i);
  PageRun worth_filling(const Extent& e, unsigned i, const Stream& s);
  unsigned fill(Extent& e, unsigned i, PageRun run);
  bool grant_whole(Extent& e);
  void grant_ahead(Address from, bool up);
  enum class WholeSlot { kNone, kUsed, kZeros };  // with what earlier pages left, or cleared
  WholeSlot make_whole_slot(Extent& e);

  // shared.cc
  bool own(Extent& e, unsigned i);
  void own_charged(Extent& e, const PageSet& pages);
  void give_up(Extent& e, const PageSet& pages);
  void own_now(Extent& e, const PageSet& pages);
  void look_who_shares(Extent& e);
  void protect(const Extent& e, const PageSet& pages);
  void unprotect(Extent& e, PageSet pages);  // a copy: it may be one of the sets that change
  void release_resident(Extent& e, const PageSet& pages);
  template <class Of, class Fn>
  void for_each_armed_range(Of of, Fn fn);

  // load.cc
  bool demand_load(Extent& e, unsigned i, uint16_t offset);
  void refaulted(Extent& e);
  uint64_t home_before(const Extent& e, unsigned i);
  void take_samples(Extent& e, const PageSet& pages, unsigned i);
  bool load_step(Extent& e, unsigned i, bool asked);
  void load_steps(Stride& s);
  unsigned load_from_memory(Extent& e, PageRun run, bool asked, bool* there);
  bool load_gaps(Extent& e, const PageSet& pages);
  bool load_neighbours(Extent& e, const PageSet& pages, unsigned i);
  bool load_at_once(Extent& e, PageRun run, bool asked, bool read = false);
  void drop_beside(Extent& e);
  bool worth_whole(const Extent& e, const PageSet& pages) const;
  bool take_load_slot(Extent& e, const PageSet& pages);
  unsigned load(Extent& e, const PageSet& pages);
  bool load_alone(Extent& e, unsigned i);
  void read_ahead();
  void read_ahead(Stream& s);
  void prefetch();

  // transfer.cc
  PageHash* hashes(Extent& e);
  bool is_as_written(Extent& e, unsigned i, const void* page);
  void destroy(Extent& e);
  template <class Fn>
  void view(const Extent& e, PageRun run, Fn fn);
  bool submit(const Transfer& transfer, const SlotPlace& place);
  void reap();
  void finish_alone(Transfer& t, int32_t result);
  void verify(Extent& e, PageRun run, PageSet& good);
  struct Compared {
    PageSet zero, stored, changed;  // zero; as the store has them; neither
  };
  void compare(Extent& e, PageRun run, const char* page, Compared& out);
  void bind_hashes(Extent& e, const StoreEntry& entry, PageRun run);
  void finish_read(Transfer& t, int32_t result);
  void lost_page(Extent& e, unsigned i, const char* why);
  void finish_write(Transfer& t, int32_t result);

  // evict.cc
  void balance();
  bool make_room(Pages wanted);
  bool evict_step();
  bool evict_aside(Extent& e);
  uint64_t eighth_of_budget() const;
  bool ripe(const Extent& e) const;
  static void warm(Extent& e, uint8_t most);
  void probed(bool in_use);
  bool write_out(Extent& e, const PageSet& dirty);
  bool write_piece(Extent& e, StoreEntry& entry, PageRun piece);
  void give_up_eviction(Extent& e);
  Extent* pick_victim();
  Extent* pick_from_probation();
  bool eligible(Extent& e);
  bool arm_and_look(Extent& e);
  void move_aside(Extent& e, const PageSet& pages, bool urgent);
  PageSet move_at_once(Address to, Address from, const PageSet& pages, const PageSet& within);
  void write_failed(Errno error);
  bool drop_ready();
  void set_away(Extent& e, Away away, bool front = false);
  Pages headroom() const;

  // ranges.cc
  bool charge_unwatched(AddressRange range);

  // queues
  void enqueue(Extent& e, Queue q);
  void dequeue(Extent& e);
  void promote(Extent& e);
  void touch_cold_count(int64_t pages);
  Errno arm_extent(Extent& e);
  void disarm_extent(Extent& e);
  void drop_pristine(Extent& e);
  void drop_unchanged(Extent& e);
  static PageSet same_in_store(const Extent& e);
  void left_aside(Extent& e, const PageSet& pages);
  void settle_extent(Extent& e);
  void forget_pages(Extent& e, const PageSet& pages);

  Arena& arena_;
  ExtentTable& table_;
  Store& store_;
  Budget& budget_;
  PageOps& ops_;
  Clock& clock_;
  SlotPool slots_;
  HashPool hash_pool_;
  IoQueue* io_ = nullptr;

  ArenaVector<Waiter> waiters_{arena_};
  Address parked_[kParkedFaults] = {};  // faults of other threads during a fork
  unsigned parked_count_ = 0;
  ResidentList main_, probation_;
  AwayList limbo_;  // out of sight, to be evicted unless touched
  AwayList ready_;  // out of sight, read before it was asked for
  Streams loads_, fills_;
  uint32_t left_ = 0;  // extents evicted so far
  Strides strides_;
  Neighbours neighbours_;  // of pages that are read
  Neighbours in_use_;      // of pages that are touched in limbo
  Neighbours fresh_;       // of pages that are given for the first time
  Transfer* free_transfers_ = nullptr;
  char* scratch_ = nullptr;                 // kScratchPages, for view()
  char* alone_ = nullptr;                   // kAlone pages
  uint64_t alone_free_ = 0;                 // a bit for each that is not in use
  PageHash content_[kPagesPerExtent] = {};  // hashes with seed 0, from compare() to bind_hashes()

  unsigned transfers_ = 0, reads_ = 0, writes_ = 0;
  Pages leaving_{};      // pages whose write is under way
  Pages ready_pages_{};  // read ahead, not yet touched
  int64_t cold_pages_ = 0;
  unsigned turn_ = 0;                 // counts victims, for the share of the main queue
  unsigned main_share_ = kMainShare;  // of so many victims one is from the main queue, even while a scan runs
  uint64_t run_ns_ = 0;               // how long the program could show what it uses: the clock of limbo
  uint64_t random_ns_ = 0;            // when a thread last asked for a page that no walk led to
  bool stalled_ = false;              // one does now
  bool hurry_ = false;                // limbo gives no time
  bool unripe_ = false;               // room is wanted, and what is in limbo had no time yet
  uint64_t store_blocked_until_ns_ = 0;
  uint64_t refusal_said_ns_ = 0;   // when it was said last that the store takes nothing
  uint64_t starved_since_ns_ = 0;  // since when a thread waits for room that nobody makes
  bool paged_ = false, draining_ = false, starved_ = false;
  bool gave_way_ = false;  // the budget did, for what is served just now
  bool busy_ = false;      // this round left work for the next
  bool prefetching_ = false;
  bool freezing_ = false;
  bool prefetch_held_ = false;  // for threads that wait for single pages
  uint64_t prefetch_waits_until_ns_ = 0;
  Address prefetch_at_{};  // what is below has been asked for
  uint64_t now_ns_ = 0;
};

// Calls fn(AddressRange) for what is armed in extents that `of` is true for, neighbouring extents in one call.
template <class Of, class Fn>
void Pager::for_each_armed_range(Of of, Fn fn) {
  AddressRange run{};
  table_.for_all([&](Extent& e) {
    if (!e.armed || !of(e)) return;
    e.managed.for_each_run([&](PageRun pages) {
      const AddressRange r = e.range(pages);
      if (r.begin == run.end) {
        run.end = r.end;
        return;
      }
      if (!run.empty()) fn(run);
      run = r;
    });
  });
  if (!run.empty()) fn(run);
}

// Calls fn(PageRun, const char*) for parts of a run of the extent's slot, in order, with what they hold: to be read
// before fn returns.
template <class Fn>
void Pager::view(const Extent& e, PageRun run, Fn fn) {
  while (run.count) {
    const Address at = slots_.address(e.slot, run.first);
    if (slots_.whole(e.slot)) return fn(run, at.pointer<const char>());
    const PageRun part = {run.first, run.count < kScratchPages ? run.count : kScratchPages};
    ops_.peek(scratch_, at, Bytes{part.count * kPageSize});
    fn(part, static_cast<const char*>(scratch_));
    run = {part.end(), run.count - part.count};
  }
}

}  // namespace ebb
