// The pages' classes, and the beginning and end of a thread's front. See heap_front.h.
#include "interpose/heap_front.h"

#include <pthread.h>
#include <sys/mman.h>
#include <cstring>

#include "base/syscall.h"
#include "interpose/heap_route.h"

namespace ebb::heap {

constinit std::atomic<PageClass*> g_page_classes[kPageLeaves] = {};
constinit std::atomic<Checked> g_checked[kClasses] = {};

namespace {

constinit pthread_key_t g_key = 0;
constinit bool g_can_end = false;

size_t usable(void* p) {
  return in_memkind([=] { return g_backend.usable_size(g_backend.kind, p); });
}

void empty(Front::Bin& bin) {
  while (bin.count) give_back(bin.block[--bin.count]);
}

// The last thing that the thread does with its front: what other destructors free after this goes to memkind.
void end_of_thread(void* front) {
  t_heap.front = nullptr;
  for (auto& bin : static_cast<Front*>(front)->bins) empty(bin);
  __libc_free(front);
}

}  // namespace

void set_class_in_new_leaf(std::atomic<PageClass*>& slot, size_t page, unsigned known) {
  const long made = raw_syscall(SYS_mmap, 0, kLeafPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(made)) return;  // reads as 0
  auto* fresh = reinterpret_cast<PageClass*>(made);
  PageClass* leaf = nullptr;
  if (slot.compare_exchange_strong(leaf, fresh))
    leaf = fresh;
  else
    raw_syscall(SYS_munmap, made, kLeafPages);
  leaf[page].store(static_cast<uint8_t>(known), std::memory_order_relaxed);
}

bool check_class(unsigned c, void* p) {
  const bool exact = usable(p) == kClassBytes[c];
  g_checked[c].store(exact ? Checked::kExact : Checked::kOther, std::memory_order_relaxed);
  return exact;
}

void note_block(void* p) {
  const size_t bytes = usable(p);
  unsigned known = 0;
  if (bytes && bytes <= kFrontMost) {
    const unsigned c = class_of(bytes);
    if (kClassBytes[c] == bytes) known = c + 1;
  }
  set_known_class(p, known);
}

void prepare_fronts() { g_can_end = pthread_key_create(&g_key, end_of_thread) == 0; }

Front* make_front() {
  if (!g_can_end) return nullptr;
  void* made = __libc_memalign(64, sizeof(Front));
  if (!made) return nullptr;
  std::memset(made, 0, sizeof(Front));
  // The C library may allocate for a high key: that goes to itself.
  const Mode before = t_heap.mode;
  t_heap.mode = Mode::kInside;
  const bool kept = pthread_setspecific(g_key, made) == 0;
  t_heap.mode = before;
  if (kept) return static_cast<Front*>(made);
  __libc_free(made);
  return nullptr;
}

void empty_large(Front& front) {
  for (unsigned c = Front::kFirstLarge; c < kClasses; ++c) empty(front.bins[c]);
  front.large_bytes = 0;
}

}  // namespace ebb::heap
