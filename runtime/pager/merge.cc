// Merging: each fork and each snapshot seals the store, so a process that does so again and again has ever more layers,
// a file and a descriptor each. What little an old one still holds moves to the layer that is written to. Rules: see
// pager.h.
#include "base/check.h"
#include "pager/pager.h"

namespace ebb {

bool Pager::merge_step(MergeWalk& walk, char* buffer) {
  if (walk.layer < 0) {
    walk = {};
    walk.layer = store_.smallest_sealed();
    if (walk.layer < 0) return true;
  }
  const auto layer = static_cast<unsigned>(walk.layer);
  while (Extent* const e = table_.next(walk.next)) {
    walk.next = e->base + kExtentSize;
    StoreEntry* const entry = Store::entry_in(*e, layer);
    if (!entry) continue;
    if (e->transfers || e->frozen || e->slot != kNoSlot) {
      walk.left_out = true;  // its turn comes again
      return false;
    }
    if (merge(*e, *entry, buffer)) return !store_.is_layer(layer);
    store_.keep_layer(layer);  // the device fails, or is full
    return true;
  }
  // All had their turn. What is left of the layer is what was left out.
  if (!walk.left_out && store_.is_layer(layer)) store_.keep_layer(layer);
  return true;
}

// Moves what `from`, in a sealed layer, holds of the extent. A page that is not what was written stays, to be found out
// when it is asked for. False when not all could be moved.
bool Pager::merge(Extent& e, const StoreEntry& from, char* buffer) {
  const PageSet pages = from.valid;
  bool all = true;
  PageSet good;
  pages.for_each_run([&](PageRun run) {
    const SlotPlace place = store_.place_in(from, run.first);
    char* page = buffer + run.first * kPageSize;
    if (store_.copy_in(place, page, run.count * kPageSize)) return void(all = false);
    for (unsigned i = run.first; i < run.end(); ++i, page += kPageSize) {
      content_[i] = hash_page(page, 0);
      if (bound_to(content_[i], store_.place_in(from, i).seed) == e.hashes[i])
        good.set(i);
      else
        all = false;
    }
  });
  if (good.none()) return false;
  const auto entry = store_.writable(e);
  if (!entry.ok()) return false;
  EBB_CHECK(entry.value()->layer != from.layer);
  PageSet moved;
  good.for_each_run([&](PageRun run) {
    const SlotPlace place = store_.place_in(*entry.value(), run.first);
    if (store_.copy_out(place, buffer + run.first * kPageSize, run.count * kPageSize, Cache::kPast))
      return void(all = false);
    for (unsigned i = run.first; i < run.end(); ++i)
      e.hashes[i] = bound_to(content_[i], store_.place_in(*entry.value(), i).seed);
    moved.set(run);
  });
  if (moved.any()) store_.commit(e, *entry.value(), moved);
  return all;
}

}  // namespace ebb
