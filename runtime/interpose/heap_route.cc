// When a process counts as grown, and how it goes over to memkind. See heap_route.h.
#include "interpose/heap_route.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/lock.h"
#include "base/log.h"
#include "base/syscall.h"
#include "interpose/boot.h"
#include "interpose/heap_front.h"
#include "interpose/heap_large.h"
#include "job/engine.h"

extern "C" void free(void* p) noexcept;

namespace ebb::heap {

__thread Thread t_heap __attribute__((tls_model("initial-exec"))) = {0, Mode::kGlibc, nullptr};
constinit Backend g_backend = {};

namespace {

// Anonymous memory of a process that is worth the 2 ms.
constexpr size_t kGrown = size_t{48} << 20;
// Less than a large object, so that each of those comes through the slow path.
constexpr size_t kCredit = kLargeObject - 1;
constexpr size_t kEndlessCredit = SIZE_MAX / 2;

enum class State : int { kIdle, kLoading, kReady, kAbsent };
constinit std::atomic<State> g_state{State::kIdle};
constinit std::atomic<size_t> g_requested{0};  // bytes of credit handed out
constinit bool g_asked = false;                // exported_heap_is_ours asked, and it was us whom it asked
constinit std::atomic<size_t> g_next_look{kGrown / 2};
constinit std::atomic<size_t> g_large_freed{0};
constinit std::atomic<uint64_t> g_extents_mapped{0};

// Resident anonymous bytes, of /proc/self/statm (pages: size resident shared ...). SIZE_MAX if it cannot be read.
size_t anonymous_bytes() {
  const long fd = raw_syscall(SYS_open, as_arg("/proc/self/statm"), O_RDONLY | O_CLOEXEC);
  if (is_error(fd)) return SIZE_MAX;
  char text[128];
  const long n = raw_syscall(SYS_read, fd, as_arg(text), sizeof text);
  raw_syscall(SYS_close, fd);
  size_t field[3] = {}, which = 0;
  for (long i = 0; i < n && which < 3; ++i) {
    if (text[i] >= '0' && text[i] <= '9')
      field[which] = field[which] * 10 + static_cast<size_t>(text[i] - '0');
    else
      ++which;
  }
  if (is_error(n) || field[1] < field[2]) return SIZE_MAX;
  return (field[1] - field[2]) * kPageSize;
}

// Called when as many bytes were asked for since the last look as were missing then: between two looks the process
// cannot have grown past the threshold unseen.
bool has_grown(size_t requested) {
  rusage usage = {};
  raw_syscall(SYS_getrusage, RUSAGE_SELF, as_arg(&usage));
  size_t now = static_cast<size_t>(usage.ru_maxrss) * 1024;  // the most ever: cheap, and enough when it is small
  if (now >= kGrown) now = anonymous_bytes();
  if (now == SIZE_MAX) return requested >= kGrown;
  if (now >= kGrown) return true;
  const size_t missing = kGrown - now;
  g_next_look.store(requested + (missing > kLargeObject ? missing : kLargeObject), std::memory_order_relaxed);
  return false;
}

// Calls `function` on another stack: the program's may be a few KiB in a thread that happens to allocate.
void call_on_stack(char* top, void (*function)()) {
  asm volatile(
      "movq %%rsp, %%rbx\n\t"
      "movq %0, %%rsp\n\t"
      "call *%1\n\t"
      "movq %%rbx, %%rsp"
      : "+r"(top), "+r"(function)
      :
      : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

// Runs what loads libraries: on a stack of its own, undisturbed, its own allocations going to glibc. False: no memory.
bool load_by(void (*load)()) {
  constexpr size_t kStack = size_t{256} << 10;
  const long stack = raw_syscall(SYS_mmap, 0, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(stack)) return false;
  const int saved = errno;
  int cancel_state = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);  // malloc is no cancellation point, dlopen is
  {
    SignalsBlocked blocked;
    t_heap.mode = Mode::kInside;
    call_on_stack(reinterpret_cast<char*>(stack) + kStack, load);
    t_heap.mode = Mode::kGlibc;
  }
  pthread_setcancelstate(cancel_state, nullptr);
  raw_syscall(SYS_munmap, stack, kStack);
  errno = saved;
  return true;
}

// One thread at a time; another one that comes meanwhile does without.
constinit std::atomic<bool> g_loading{false};

void load_backend_now() {
  prepare_fronts();  // before memkind makes its own key: a thread's last destructor is then that one
  g_state.store(load_backend(g_backend) ? State::kReady : State::kAbsent, std::memory_order_release);
  engine::load_tier_copy();
}

// One thread loads; the others stay with glibc meanwhile. True when memkind is there.
bool take_over() {
  if (g_loading.exchange(true)) return false;
  State expected = State::kIdle;
  if (g_state.compare_exchange_strong(expected, State::kLoading) && !load_by(load_backend_now))
    g_state.store(State::kAbsent);
  g_loading.store(false);
  return g_state.load(std::memory_order_acquire) == State::kReady;
}

// A process may grow by huge objects alone, and begin to page with the first of them.
void load_tier_copy_once() {
  static constinit std::atomic<bool> begun{false};
  if (begun.load(std::memory_order_relaxed) || g_loading.exchange(true)) return;
  begun.store(true, std::memory_order_relaxed);
  (void)load_by(engine::load_tier_copy);
  g_loading.store(false);
}

bool ready_or_grown(size_t bytes) {
  switch (g_state.load(std::memory_order_acquire)) {
    case State::kReady:
      return true;
    case State::kLoading:
    case State::kAbsent:
      return false;
    case State::kIdle:
      break;
  }
  const size_t requested = g_requested.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  // Blocks of a few MiB that come and go: memkind keeps their pages, mappings of their own would fault anew each time.
  const bool churns = g_large_freed.load(std::memory_order_relaxed) >= kGrown / 2;
  if (!churns && (requested < g_next_look.load(std::memory_order_relaxed) || !has_grown(requested))) return false;
  return take_over();
}

// Of each arena's first extents a small program uses a part only, and would have all of it cleared and resident.
bool worth_huge_pages(size_t bytes) {
  constexpr size_t kSmallExtent = 4 << 20;
  constexpr uint64_t kSmallHeap = 64 << 20;
  return g_extents_mapped.fetch_add(bytes, std::memory_order_relaxed) >= kSmallHeap || bytes > kSmallExtent;
}

}  // namespace

Route choose_route(size_t bytes, const void* return_address) {
  Thread& thread = t_heap;
  if (thread.mode == Mode::kInside) return Route::kGlibc;
  if (thread.mode == Mode::kAsking) {
    g_asked = true;
    return Route::kNowhere;
  }
  if (!interpose::g_active || !interpose::g_heap_is_ours) {
    // Before the constructor the last word is not spoken.
    thread.credit = interpose::g_loader_bytes && bytes < kEndlessCredit ? kEndlessCredit : kCredit;
    return Route::kGlibc;
  }
  // The loader may be in the middle of a dlopen, where another one must not begin.
  if (interpose::called_by_loader(return_address)) return Route::kGlibc;
  if (bytes < kLargeObject) thread.credit = kCredit;
  if (bytes < kHugeObject && ready_or_grown(bytes < kLargeObject ? kCredit : bytes)) {
    thread.front = make_front();
    thread.mode = Mode::kMemkind;
    thread.credit = 0;
    return Route::kMemkind;
  }
  if (bytes >= kHugeObject) load_tier_copy_once();
  return bytes >= kLargeObject ? Route::kLarge : Route::kGlibc;
}

void note_large_free(size_t bytes) {
  if (bytes < kHugeObject) g_large_freed.fetch_add(bytes, std::memory_order_relaxed);
}

long map_extent(void* hint, size_t bytes, int prot, int flags) {
  constexpr int kPlain = PROT_READ | PROT_WRITE;
  if (hint) {
    // memkind wants to grow an extent in place: there or nowhere, or the piece would be outside the window.
    const auto at = reinterpret_cast<uintptr_t>(hint);
    const bool in_window = g_extent_window.contains(at) && bytes <= kOursEnd - at;
    if (!in_window || prot != kPlain) return -ENOMEM;
    const long result = engine::map_heap(hint, bytes, true, worth_huge_pages(bytes));
    if (!is_error(result)) g_extent_window.pass(at + bytes);
    return result;
  }
  if (prot == kPlain) return map_in_window(g_extent_window, bytes, kExtentSize, worth_huge_pages(bytes));
  // Under vm.overcommit_memory=2 memkind reserves first and commits later, by MAP_FIXED.
  const uintptr_t at = g_extent_window.take(bytes, kExtentSize);
  return engine::map(reinterpret_cast<void*>(at), bytes, prot, flags | MAP_FIXED_NOREPLACE, -1, 0);
}

// Asked by calling: in an executable that is not position-independent, the address of `free` is that of the
// executable's own jump to it, whoever defines it. Ours answers with nothing, since glibc's heap would be set up for a
// block: many small programs end without one.
bool exported_heap_is_ours() {
  t_heap.credit = 0;
  t_heap.mode = Mode::kAsking;
  void* p = malloc(1);
  asm volatile("" : : "r"(p) : "memory");
  t_heap.mode = Mode::kGlibc;
  free(p);
  t_heap.credit = 0;  // the next one asks again, with the last word spoken
  return g_asked;
}

void choose_addresses(const unsigned char* random) {
  if (!random) return;
  uint64_t bits[2];
  std::memcpy(bits, random, sizeof bits);
  g_large_window.start_at(bits[0] % kTebibyte);
  g_extent_window.start_at(bits[1] % kTebibyte);
}

}  // namespace ebb::heap
