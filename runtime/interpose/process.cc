// fork: our handlers around it, first in line; _Fork, which runs no handlers and so needs its own wrapper.
//
// vfork and posix_spawn share the parent's memory until exec and need nothing. clone(2) without CLONE_VM by raw system
// call cannot be seen: docs/interposition.md.
#include <sys/types.h>
#include <atomic>
#include <cerrno>
#include <cstdio>

#include "interpose/boot.h"
#include "interpose/heap_route.h"
#include "interpose/snapshot_api.h"
#include "job/engine.h"

#define EBB_EXPORT [[gnu::visibility("default")]]

// glibc's list of open streams, and its lock, which nests. fork takes it, and in a child of several threads resets the
// lock of each stream before any handler has run.
extern "C" {
[[gnu::weak]] extern FILE* _IO_list_all;
[[gnu::weak]] void _IO_list_lock();
[[gnu::weak]] void _IO_list_unlock();
[[gnu::weak]] void _IO_list_resetlock();
}

namespace ebb::interpose {
namespace {

// Taken before any lock of ours: who holds it may flush a stream, which may allocate.
bool lock_streams() {
  if (!&_IO_list_all || !_IO_list_lock || !_IO_list_unlock || !_IO_list_resetlock) return false;
  _IO_list_lock();
  return true;
}

// Brings in what the child touches before its memory is watched again. Nothing leaves DRAM any more before the fork.
void touch_streams() {
  for (FILE* stream = _IO_list_all; stream; stream = stream->_chain) {
    __atomic_load_n(&stream->_flags, __ATOMIC_RELAXED);
    if (stream->_lock) __atomic_load_n(static_cast<char*>(stream->_lock), __ATOMIC_RELAXED);
  }
}

constinit bool g_streams_locked = false;  // guarded by that lock
constinit bool g_registered = false;

// The fork handlers of memkind and of the libraries it brings. It registers them when it is loaded, which may be late:
// its prepare handler, which takes all its locks, would then run before the program's own handlers, and those may
// allocate. So they run with ours.
struct ForkHandlers {
  void (*prepare)();
  void (*parent)();
  void (*child)();
};
constexpr int kMostHandlers = 8;
constinit ForkHandlers g_memkind_handlers[kMostHandlers] = {};
constinit std::atomic<int> g_memkind_handler_count{0};

void prepare() {
  if (!g_active) return;
  const bool locked = lock_streams();
  for (int i = g_memkind_handler_count.load(); i-- > 0;)
    if (g_memkind_handlers[i].prepare) g_memkind_handlers[i].prepare();
  engine::fork_prepare();
  if (locked) touch_streams();
  g_streams_locked = locked;
}
void parent() {
  if (!g_active) return;
  engine::fork_parent();
  for (int i = 0; i < g_memkind_handler_count.load(); ++i)
    if (g_memkind_handlers[i].parent) g_memkind_handlers[i].parent();
  if (g_streams_locked) _IO_list_unlock();
}
void child() {
  release_in_child();
  release_arguments_in_child();
  if (!g_active) return;
  engine::fork_child();
  for (int i = 0; i < g_memkind_handler_count.load(); ++i)
    if (g_memkind_handlers[i].child) g_memkind_handlers[i].child();
  if (g_streams_locked) _IO_list_resetlock();
}

// Called by the one thread that loads memkind.
bool keep_for_memkind(const ForkHandlers& handlers) {
  const int count = g_memkind_handler_count.load();
  if (!heap::inside_memkind() || count == kMostHandlers) return false;
  g_memkind_handlers[count] = handlers;
  g_memkind_handler_count.store(count + 1);
  return true;
}

}  // namespace

void register_fork_handlers() {
  if (g_registered) return;
  g_registered = true;
  if (const auto register_atfork = next().register_atfork) register_atfork(prepare, parent, child, nullptr);
}

}  // namespace ebb::interpose

extern "C" {

// What pthread_atfork calls. Libraries whose constructors run before ours may register first; seeing their call is how
// we come before them all the same.
EBB_EXPORT int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void* library) {
  ebb::interpose::register_fork_handlers();
  if (ebb::interpose::keep_for_memkind({prepare, parent, child})) return 0;
  return ebb::interpose::next().register_atfork(prepare, parent, child, library);
}

EBB_EXPORT pid_t _Fork() {
  const bool active = ebb::interpose::g_active;
  if (active) ebb::engine::fork_prepare();
  const pid_t pid = ebb::interpose::next().plain_fork();
  const int saved = errno;
  if (pid == 0) {
    ebb::interpose::release_in_child();
    ebb::interpose::release_arguments_in_child();
    if (active) ebb::engine::fork_child();
  } else if (active) {
    ebb::engine::fork_parent();
  }
  errno = saved;
  return pid;
}

}  // extern "C"
