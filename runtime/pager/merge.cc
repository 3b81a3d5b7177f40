// Merging: each fork and each snapshot seals the store, so a process that does so again and again has ever more layers,
// a file and a descriptor each. What little an old one still holds moves to the layer that is written to.
//
// Gathering: a page here and there that was written between two snapshots cuts an extent into pieces of different
// files, or lets the files take turns where nothing lies between. Where there are too many the extent moves as a whole.
// Rules: see pager.h.
#include "base/check.h"
#include "pager/pager.h"

namespace ebb {
namespace {
// Of all extents together. A process can have 65,530 mappings (vm.max_map_count, as it comes), and to restore one CRIU
// opens a file for each mapping of ours that is of another file than the one before: its limit may be 20,000.
constexpr uint64_t kFewPieces = 8192, kMostPieces = 16384;
}  // namespace

bool Pager::merge_step(MergeWalk& walk, char* buffer) {
  if (walk.layer < 0) {
    walk = {};
    walk.layer = store_.smallest_sealed();
    if (walk.layer < 0) return true;
  }
  const auto layer = static_cast<unsigned>(walk.layer);
  if (!store_.is_sealed(layer)) return true;
  while (Extent* const e = table_.next(walk.next)) {
    walk.next = e->base + kExtentSize;
    StoreEntry* const entry = Store::entry_in(*e, layer);
    const bool record = e->record.layer == layer;
    if (!entry && !record) continue;
    if (!e->at_rest()) {
      walk.left_out = true;  // its turn comes again
      return false;
    }
    // Its hashes are kept anew by the next snapshot.
    if (record && hashes(*e)) store_.forget_record(*e);
    if (e->record.layer != layer && (!entry || merge(*e, *entry, buffer))) return !store_.is_sealed(layer);
    store_.keep_layer(layer);  // the device fails, or is full
    return true;
  }
  // All had their turn. What is left of the layer is what was left out.
  if (!walk.left_out && store_.is_sealed(layer)) store_.keep_layer(layer);
  return true;
}

// Moves what `from`, in a sealed layer, holds of the extent. A page that is not what was written stays, to be found out
// when it is asked for. False when not all could be moved.
bool Pager::merge(Extent& e, const StoreEntry& from, char* buffer) {
  const PageSet pages = from.valid;
  Compared seen;
  pages.for_each_run([&](PageRun run) {
    char* const page = buffer + run.first * kPageSize;
    if (!store_.copy_in(store_.place_in(from, run.first), page, run.count * kPageSize)) compare(e, run, page, seen);
  });
  const PageSet& good = seen.stored;
  if (good.none()) return false;
  const auto entry = store_.writable(e);
  if (!entry.ok()) return false;
  EBB_CHECK(entry.value()->layer != from.layer);
  PageSet moved;
  good.for_each_run([&](PageRun run) {
    const SlotPlace place = store_.place_in(*entry.value(), run.first);
    if (store_.copy_out(place, buffer + run.first * kPageSize, run.count * kPageSize, Cache::kPast)) return;
    bind_hashes(e, *entry.value(), run);
    moved.set(run);
  });
  if (moved.any()) store_.commit(e, *entry.value(), moved);
  return moved == pages;
}

// What it would lose if it were gathered.
unsigned Pager::spare_pieces(const Extent& e) {
  const PageSet files = given(e);
  const unsigned mappings = Store::pieces(e, files) - files.runs(), changes = Store::file_changes(e, files);
  return changes > mappings + 1 ? changes - 1 : mappings;
}

unsigned Pager::most_pieces() {
  uint64_t all = 0, extents = 0;
  uint32_t having[kPagesPerExtent + 1] = {};  // so many of them
  table_.for_all([&](Extent& e) {
    if (!e.store) return;
    const unsigned n = spare_pieces(e);
    ++extents;
    ++having[n];
    all += n;
  });
  uint64_t limit = 4 * extents;
  if (limit < kFewPieces) limit = kFewPieces;
  if (limit > kMostPieces) limit = kMostPieces;
  unsigned most = kPagesPerExtent;
  if (all <= limit) return most;
  // Down to a half, so that the next snapshots need not do so again.
  for (; most > 0 && all > limit / 2; --most) all -= uint64_t{most} * having[most];
  return most;
}

bool Pager::gather_step(Address& next, unsigned most, char* buffer) {
  Extent* const e = table_.next(next);
  if (!e) return true;
  next = e->base + kExtentSize;
  if (!e->store || !e->at_rest() || spare_pieces(*e) <= most) return false;
  while (StoreEntry* const entry = store_.sealed_entry(*e))
    if (!merge(*e, *entry, buffer)) break;          // it stays in pieces
  if (!store_.byte_addressable()) store_.trim(*e);  // or it would be done with the program stopped
  return false;
}

}  // namespace ebb
