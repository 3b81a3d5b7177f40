#include "store/store.h"

#include <cerrno>

#include "base/check.h"

namespace ebb {
namespace {
// How much space is asked of the file system at once: few calls, and an early answer when the device is full.
constexpr uint32_t kReserveAreas = 32;  // 64 MiB
}  // namespace

SlotPlace Store::place_at(unsigned at, uint32_t area, unsigned slot) const {
  const Layer& layer = layers_[at];
  const uint64_t offset = (uint64_t{area} << kExtentShift) + uint64_t{slot} * kPageSize;
  // A multiplicative mix (the odd constant of splitmix64) is enough: the seed only has to differ between slots.
  const uint64_t seed = seed_ ^ (((uint64_t{at} << 48) + (offset >> kPageShift) + 1) * 0x9E3779B97F4A7C15ull);
  return {layer.fd, offset, layer.mapped ? layer.mapped + offset : nullptr, seed, layer.cached};
}

SlotPlace Store::place_in(const StoreEntry& entry, unsigned i) const { return place_at(entry.layer, entry.area, i); }

SlotPlace Store::place_of(const RecordPlace& record) const { return place_at(record.layer, record.area, record.slot); }

SlotPlace Store::place(const Extent& e, unsigned i) const {
  for (const StoreEntry* s = e.store; s; s = s->below)
    if (s->valid.test(i)) return place_in(*s, i);
  EBB_CHECK(!"a stored page has no slot");
  return {};
}

unsigned Store::contiguous(const Extent& e, unsigned i, unsigned max) const {
  for (const StoreEntry* s = e.store; s; s = s->below) {
    if (!s->valid.test(i)) continue;
    const unsigned n = s->valid.next_gap(i) - i;
    return n < max ? n : max;
  }
  return 0;
}

Errno Store::copy_out(const SlotPlace& place, const char* from, uint64_t bytes, Cache cache) {
  if (!place.mapped) return files_.write(place.fd, place.offset, from, bytes, cache);
  files_.copy_out(place.mapped, from, bytes);
  return {};
}

Errno Store::copy_in(const SlotPlace& place, char* to, uint64_t bytes) {
  if (!place.mapped) return files_.read(place.fd, place.offset, to, bytes);
  __builtin_memcpy(to, place.mapped, bytes);
  return {};
}

Errno Store::copy_in_cached(const SlotPlace& place, char* to, uint64_t bytes) {
  return place.cached ? files_.read_cached(place.fd, place.offset, to, bytes) : Errno{EAGAIN};
}

Result<unsigned> Store::top_layer() {
  if (top_ >= 0) return static_cast<unsigned>(top_);
  if (crowded()) return Errno{EMFILE};
  unsigned at = 0;
  while (layers_[at].used) ++at;
  const auto fd = files_.create();
  if (!fd.ok()) return fd.error();
  layers_[at] = {};
  layers_[at].used = true;
  layers_[at].fd = fd.value();
  if (byte_addressable_) layers_[at].mapped = files_.map(fd.value());
  ++layers_in_use_;
  free_areas_.clear();
  free_trimmed_ = 0;
  record_slots_left_ = 0;
  top_ = static_cast<int>(at);
  return at;
}

Result<uint32_t> Store::new_area(Layer& layer) {
  if (!free_areas_.empty()) {
    const uint32_t area = free_areas_.back();
    if (byte_addressable_ || free_areas_.size() == free_trimmed_)  // its space was given back
      if (const Errno e = files_.reserve(layer.fd, uint64_t{area} << kExtentShift, kExtentSize)) return e;
    free_areas_.pop_back();
    if (free_trimmed_ > free_areas_.size()) free_trimmed_ = free_areas_.size();
    return area;
  }
  if (layer.areas_made == layer.areas_reserved) {
    // In memory a reserved page is a used one: there, only what is needed now.
    uint32_t more = byte_addressable_ ? 1 : kReserveAreas;
    Errno failed =
        files_.reserve(layer.fd, uint64_t{layer.areas_reserved} << kExtentShift, uint64_t{more} << kExtentShift);
    if (failed && more > 1) {
      more = 1;
      failed = files_.reserve(layer.fd, uint64_t{layer.areas_reserved} << kExtentShift, kExtentSize);
    }
    if (failed) return failed;
    layer.areas_reserved += more;
  }
  return layer.areas_made++;
}

Result<StoreEntry*> Store::writable(Extent& e) {
  if (e.store && !layers_[e.store->layer].sealed) {
    e.store->trimmed = false;
    return e.store;
  }
  const auto top = top_layer();
  if (!top.ok()) return top.error();
  StoreEntry* entry = arena_.make<StoreEntry>();
  if (!entry) return Errno{ENOMEM};
  const auto area = new_area(layers_[top.value()]);
  if (!area.ok()) {
    arena_.destroy(entry);
    return area.error();
  }
  *entry = {e.store, {}, area.value(), static_cast<uint16_t>(top.value())};
  e.store = entry;
  ++layers_[entry->layer].areas_live;
  ++areas_;
  return entry;
}

void Store::commit(Extent& e, StoreEntry& entry, const PageSet& pages) {
  EBB_CHECK(!layers_[entry.layer].sealed);
  for (StoreEntry** link = &e.store; *link;) {
    StoreEntry* s = *link;
    if (s != &entry) {
      s->valid.remove(pages);
      if (s->valid.none() && !s->writes) {
        release_entry(e, link);
        continue;
      }
    }
    link = &s->below;
  }
  entry.valid |= pages;
  e.stored |= pages;
}

void Store::forget(Extent& e, const PageSet& pages) {
  e.stored.remove(pages);
  for (StoreEntry** link = &e.store; *link;) {
    if (pages.any()) (*link)->trimmed = false;
    (*link)->valid.remove(pages);
    if ((*link)->valid.none() && !(*link)->writes)
      release_entry(e, link);
    else
      link = &(*link)->below;
  }
  if (e.stored.none()) forget_record(e);
}

Errno Store::keep_record(Extent& e) {
  forget_record(e);
  const auto top = top_layer();
  if (!top.ok()) return top.error();
  Layer& layer = layers_[top.value()];
  if (record_slots_left_ == 0) {
    const auto area = new_area(layer);
    if (!area.ok()) return area.error();
    record_area_ = area.value();
    record_slots_left_ = kPagesPerExtent;
  }
  const RecordPlace record = {record_area_, static_cast<uint16_t>(top.value()),
                              static_cast<uint16_t>(kPagesPerExtent - record_slots_left_)};
  if (const Errno failed = copy_out(place_of(record), reinterpret_cast<const char*>(e.hashes), kPageSize))
    return failed;
  --record_slots_left_;
  e.record = record;
  ++layer.records_live;
  return {};
}

Errno Store::read_record(const Extent& e, PageHash* to) {
  return copy_in(place_of(e.record), reinterpret_cast<char*>(to), kPageSize);
}

void Store::forget_record(Extent& e) {
  if (e.record.layer == kNoLayer) return;
  --layers_[e.record.layer].records_live;
  close_if_empty(e.record.layer);
  e.record = {};
}

void Store::RecordsAhead::add(const Extent& e) {
  const RecordPlace& r = e.record;
  if (r.layer == kNoLayer) return;
  if (count_ && r.layer == first_.layer && r.area == first_.area && r.slot == first_.slot + count_) {
    ++count_;
    return;
  }
  flush();
  first_ = r;
  count_ = 1;
}

void Store::RecordsAhead::flush() {
  const SlotPlace place = count_ ? store_.place_of(first_) : SlotPlace{};
  if (count_ && !place.mapped) store_.files_.read_ahead(place.fd, place.offset, count_ * kPageSize);
  count_ = 0;
}

void Store::release_entry(Extent&, StoreEntry** link) {
  StoreEntry* s = *link;
  *link = s->below;
  Layer& layer = layers_[s->layer];
  if (!layer.inherited) --areas_;
  --layer.areas_live;
  if (!layer.sealed) {
    // Space in memory is given back at once; on a disk the area is written again soon.
    if (byte_addressable_) files_.punch(layer.fd, uint64_t{s->area} << kExtentShift, kExtentSize);
    (void)free_areas_.push_back(s->area);  // no memory for that: the area is lost until its layer ends
  }
  close_if_empty(s->layer);
  arena_.destroy(s);
}

void Store::close_if_empty(unsigned at) {
  Layer& layer = layers_[at];
  if (!layer.sealed || layer.areas_live || layer.records_live) return;
  close_file(layer);
  --layers_in_use_;
  layers_inherited_ -= layer.inherited;
  layer = {};
}

void Store::close_file(Layer& layer) {
  if (layer.mapped) files_.unmap(layer.mapped);
  if (layer.fd >= 0) files_.close(layer.fd);
  layer.mapped = nullptr;
  layer.fd = -1;
}

void Store::trim(const Extent& e) {
  StoreEntry* const entry = e.store;
  if (!entry || static_cast<int>(entry->layer) != top_ || entry->trimmed) return;
  EBB_CHECK(!entry->writes);
  entry->trimmed = true;
  PageSet::all().minus(entry->valid).for_each_run([&](PageRun run) {
    files_.punch(layers_[top_].fd, place_in(*entry, run.first).offset, run.count * kPageSize);
  });
}

bool Store::trim_free_areas(size_t most) {
  if (byte_addressable_) free_trimmed_ = free_areas_.size();  // at once, when they became free
  for (; free_trimmed_ < free_areas_.size() && most; ++free_trimmed_, --most)
    files_.punch(layers_[top_].fd, uint64_t{free_areas_[free_trimmed_]} << kExtentShift, kExtentSize);
  return free_trimmed_ == free_areas_.size();
}

void Store::trim_unused() {
  if (top_ < 0) return;
  trim_free_areas(SIZE_MAX);
  const Layer& layer = layers_[top_];
  if (record_slots_left_)
    files_.punch(layer.fd, ((uint64_t{record_area_} + 1) << kExtentShift) - record_slots_left_ * kPageSize,
                 record_slots_left_ * kPageSize);
  if (layer.areas_reserved > layer.areas_made)
    files_.punch(layer.fd, uint64_t{layer.areas_made} << kExtentShift,
                 uint64_t{layer.areas_reserved - layer.areas_made} << kExtentShift);
}

int Store::sealed_file(unsigned n) const {
  for (const Layer& layer : layers_)
    if (layer.used && layer.sealed && n-- == 0) return layer.fd;
  return -1;
}

uint64_t Store::future_name(int fd) const {
  const auto name = files_.identity(fd);
  return name.ok() ? name.value() : 0;
}

Errno Store::name_files(const char* folder) {
  for (Layer& layer : layers_) {
    if (!layer.used) continue;
    EBB_CHECK(layer.sealed);
    const auto name = files_.name(layer.fd, folder);
    if (!name.ok()) return name.error();
    layer.name = name.value();
  }
  return {};
}

void Store::close_files() {
  for (Layer& layer : layers_) close_file(layer);
}

Errno Store::open_files(const char* folder, bool mapping) {
  for (Layer& layer : layers_) {
    if (!layer.used) continue;
    const auto fd = files_.reopen(folder, layer.name, mapping);
    if (!fd.ok()) return close_files(), fd.error();
    layer.fd = fd.value();
    layer.cached = true;
    if (byte_addressable_ && !mapping) layer.mapped = files_.map(fd.value());
  }
  return {};
}

int Store::smallest_sealed() const {
  int found = -1;
  for (unsigned i = 0; i < kMaxLayers; ++i) {
    const Layer& layer = layers_[i];
    if (!layer.used || !layer.sealed || layer.kept) continue;
    if (found < 0 || layer.areas_live < layers_[found].areas_live) found = static_cast<int>(i);
  }
  return found;
}

void Store::keep_no_layer() {
  for (Layer& layer : layers_) layer.kept = false;
}

StoreEntry* Store::entry_in(Extent& e, unsigned layer) {
  for (StoreEntry* s = e.store; s; s = s->below)
    if (s->layer == layer) return s;
  return nullptr;
}

StoreEntry* Store::sealed_entry(Extent& e) const {
  for (StoreEntry* s = e.store; s; s = s->below)
    if (layers_[s->layer].sealed && s->valid.any()) return s;
  return nullptr;
}

unsigned Store::pieces(const Extent& e, const PageSet& pages) {
  unsigned n = 0;
  for (const StoreEntry* s = e.store; s; s = s->below) n += (s->valid & pages).runs();
  return n;
}

unsigned Store::file_changes(const Extent& e, const PageSet& pages) {
  PageSet starts;
  uint16_t layer_at[kPagesPerExtent];
  for (const StoreEntry* s = e.store; s; s = s->below)
    (s->valid & pages).for_each_run([&](PageRun run) {
      starts.set(run.first);
      layer_at[run.first] = s->layer;
    });
  unsigned n = 0;
  int last = -1;
  for (unsigned i = starts.next(0); i < kPagesPerExtent; i = starts.next(i + 1)) {
    n += layer_at[i] != last;
    last = layer_at[i];
  }
  return n;
}

void Store::become_child() {
  for (Layer& layer : layers_) layer.inherited = layer.used;
  layers_inherited_ = layers_in_use_;
  areas_ = 0;
}

void Store::seal() {
  if (top_ < 0) return;
  Layer& layer = layers_[top_];
  const unsigned sealed = static_cast<unsigned>(top_);
  layer.sealed = true;
  top_ = -1;
  free_areas_.clear();
  free_trimmed_ = 0;
  close_if_empty(sealed);
}

}  // namespace ebb
