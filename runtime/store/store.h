// Store: where the cold pages of one process are. A stack of layers; each layer is a file of areas, an area holds the
// 512 page slots of one extent, so that a walk through memory is a walk through the file.
//
// A fork seals the layers that exist: parent and child share them read-only from then on and each writes to a layer of
// its own above. A page is in exactly one entry of its extent's stack; what a newer layer supersedes is forgotten in
// the older one, and a layer without a page left is closed.
//
// Guarded by the state lock. Errors of the device are the callers' to handle; the store only places and forgets.
#pragma once

#include "base/arena.h"
#include "os/kernel.h"
#include "space/extent.h"

namespace ebb {

// The pages of one extent in one layer.
struct StoreEntry {
  StoreEntry* below = nullptr;
  PageSet valid;
  uint32_t area = 0;
  uint16_t layer = 0;
  uint16_t writes = 0;   // under way: the entry stays, also while nothing in it is valid yet
  bool trimmed = false;  // nothing was written to it or forgotten in it since trim()
};

// Where a page slot is: in a file, and in memory besides where the tier is mapped.
struct SlotPlace {
  int fd = -1;
  uint64_t offset = 0;
  char* mapped = nullptr;
  uint64_t seed = 0;    // for hash_page: differs for every slot of the job
  bool cached = false;  // the file is read through the page cache
};

class Store {
 public:
  static constexpr unsigned kMaxLayers = 200, kManyLayers = 64;

  constexpr Store(Arena& arena, TierFiles& files) : arena_(arena), files_(files) {}

  // A fixed number that tells this job's hashes from those of any other. Set once before use.
  void set_seed(uint64_t seed) { seed_ = seed; }

  // Where the stored page `i` of `e` is.
  SlotPlace place(const Extent& e, unsigned i) const;
  // The run of stored pages from `i` on, at most `max`, that lie in one entry: consecutive pages, consecutive bytes.
  unsigned contiguous(const Extent& e, unsigned i, unsigned max) const;

  // An entry of `e` in the writable layer, made if there is none. Errors: ENOSPC, EIO and their kin; ENOMEM.
  Result<StoreEntry*> writable(Extent& e);
  SlotPlace place_in(const StoreEntry& entry, unsigned i) const;
  // Records that `pages` of `e` are in `entry` now and nowhere else.
  void commit(Extent& e, StoreEntry& entry, const PageSet& pages);
  // A write into `entry` begins or has ended, for better or worse.
  static void begin_write(StoreEntry& entry) { ++entry.writes; }
  static void end_write(StoreEntry& entry) { --entry.writes; }
  // Forgets the copies of `pages`. No write to them may be under way.
  void forget(Extent& e, const PageSet& pages);

  // Makes all that is stored immutable; the next write begins a new layer.
  void seal();
  // In a fork child, after seal(): the layers are its parent's, too; size() counts what this process adds.
  void become_child();
  // For snapshots, before seal(): gives back the space of what is not stored in the extent's area of the writable
  // layer, and its old contents with it. No write to it may be under way. Costs a journal entry of the file system for
  // each gap, so it is done ahead, and here again only for what has changed; what is written later to a gap takes new
  // space, if there is any.
  void trim(const Extent& e);
  // Likewise the areas that no extent has, so many at most: a program may have dropped thousands. Whether that was all.
  bool trim_free_areas(size_t most);
  // All of these and what is left of the layer's end.
  void trim_unused();
  // For snapshots, ahead of them. Whether the layer that is written to could only be copied to `folder`; the files of
  // the sealed ones, n = 0, 1, ..., -1 when there are no more; and what such a file will be called.
  bool would_be_copied(const char* folder) const { return top_ >= 0 && files_.elsewhere(layers_[top_].fd, folder); }
  int sealed_file(unsigned n) const;
  uint64_t future_name(int fd) const;
  // For snapshots, after seal(). Names the files of all layers in `folder`; closes them; opens them again from there,
  // to be read or (`mapping`) to be mapped. Errors: as TierFiles::name() and reopen().
  Errno name_files(const char* folder);
  void close_files();
  Errno open_files(const char* folder, bool mapping);

  // For snapshots, too: a copy of the extent's hashes, which takes a page slot of the writable layer. A copy that is
  // out of date is forgotten by whoever changes a hash, and by the store with the extent's last page. Errors: as
  // writable() and TierFiles::write() and read().
  Errno keep_record(Extent& e);
  Errno read_record(const Extent& e, PageHash* to);
  void forget_record(Extent& e);
  // Has the device read the copies of the extents that it is told of, in order, before they are asked for.
  class RecordsAhead {
   public:
    explicit RecordsAhead(Store& store) : store_(store) {}
    ~RecordsAhead() { flush(); }
    RecordsAhead(const RecordsAhead&) = delete;
    RecordsAhead& operator=(const RecordsAhead&) = delete;
    void add(const Extent& e);

   private:
    void flush();
    Store& store_;
    RecordPlace first_;
    unsigned count_ = 0;
  };

  // Whether every layer is used up: nothing can be written after the next seal().
  bool crowded() const { return layers_in_use_ >= kMaxLayers; }
  // Whether some of the layers should be merged: what is inherited is left alone for as long as it can be.
  bool wants_merging() const { return own_layers() >= kManyLayers || nearly_crowded(); }
  bool nearly_crowded() const { return layers_in_use_ >= kMaxLayers - kMaxLayers / 5; }
  // The sealed layer that holds the least, of those that may be merged; -1 if there is none.
  int smallest_sealed() const;
  // Not of one that ended and whose number another one has got.
  bool is_sealed(unsigned layer) const { return layers_[layer].used && layers_[layer].sealed; }
  // It could not be emptied, and is not to be tried again before keep_no_layer().
  void keep_layer(unsigned layer) { layers_[layer].kept = true; }
  void keep_no_layer();
  // What the extent has in that layer; null if nothing.
  static StoreEntry* entry_in(Extent& e, unsigned layer);
  // Of what the extent has outside of the layer that is written to; null if nothing.
  StoreEntry* sealed_entry(Extent& e) const;
  // In how many runs of one file each `pages` of the extent lie.
  static unsigned pieces(const Extent& e, const PageSet& pages);
  // How many files follow each other along these pages, in their order; what is not in the store lies between.
  static unsigned file_changes(const Extent& e, const PageSet& pages);

  // On byte-addressable tiers: `bytes` into, or from, the slots from `place` on. Errors: as TierFiles::write() and
  // read().
  Errno copy_out(const SlotPlace& place, const char* from, uint64_t bytes, Cache cache = Cache::kThrough);
  Errno copy_in(const SlotPlace& place, char* to, uint64_t bytes);
  // From a file of a snapshot, if it is in the page cache: no other has passed through it. EAGAIN if not; else as
  // copy_in().
  Errno copy_in_cached(const SlotPlace& place, char* to, uint64_t bytes);

  Bytes size() const { return {uint64_t{areas_} << kExtentShift}; }
  bool byte_addressable() const { return byte_addressable_; }
  void set_byte_addressable(bool yes) { byte_addressable_ = yes; }

 private:
  struct Layer {
    bool used = false;
    int fd = -1;        // -1 between close_files() and open_files()
    uint64_t name = 0;  // of name_files()
    bool sealed = false;
    bool inherited = false;  // made by a process that this one was forked from
    bool kept = false;       // not to be merged
    bool cached = false;     // read through the page cache
    char* mapped = nullptr;
    uint32_t areas_made = 0;      // ever, in the file
    uint32_t areas_reserved = 0;  // space promised by the file system
    uint32_t areas_live = 0;
    uint32_t records_live = 0;
  };

  Result<uint32_t> new_area(Layer& layer);
  Result<unsigned> top_layer();
  SlotPlace place_at(unsigned layer, uint32_t area, unsigned slot) const;
  SlotPlace place_of(const RecordPlace& record) const;
  unsigned own_layers() const { return layers_in_use_ - layers_inherited_; }
  void release_entry(Extent& e, StoreEntry** link);
  void close_if_empty(unsigned layer);
  void close_file(Layer& layer);

  Arena& arena_;
  TierFiles& files_;
  uint64_t seed_ = 0;
  Layer layers_[kMaxLayers] = {};
  ArenaVector<uint32_t> free_areas_{arena_};  // of the writable layer
  size_t free_trimmed_ = 0;                   // so many at the begin of the list are without space
  unsigned layers_in_use_ = 0;
  unsigned layers_inherited_ = 0;  // of these
  int top_ = -1;
  uint32_t record_area_ = 0;        // of the writable layer, where the next record goes
  unsigned record_slots_left_ = 0;  // in it
  uint32_t areas_ = 0;
  bool byte_addressable_ = false;
};

}  // namespace ebb
