// The life of the library inside a process: what is known before its constructor ran, what the constructor decides, and
// the few functions of the C library that cannot be reached under their own name because we export that name.
//
// Rules: everything is constant-initialised, so every wrapper works before the constructor and after the destructors.
// The constructor opens nothing, maps nothing and starts nothing.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <cstdint>

namespace ebb::interpose {

// False until the constructor ran, and in every process that the library leaves alone: no EBB_DRAM, nonsense in it, or
// a sanitizer's run time in the process. Wrappers are plain system calls and plain libc then.
extern bool g_active;
// Whether our malloc is the process's malloc. False when the executable or an earlier preload exports its own: then
// only the mapping calls are ours.
extern bool g_heap_is_ours;

// Where the dynamic loader's code lies. Its memory (thread-local blocks, their tables) always stays with glibc: it is
// used inside the very accesses to thread-local variables that memkind makes.
extern uintptr_t g_loader_begin;
extern size_t g_loader_bytes;

inline bool called_by_loader(const void* return_address) {
  return reinterpret_cast<uintptr_t>(return_address) - g_loader_begin < g_loader_bytes;
}

// The next definition after ours; resolved by the constructor, or at the first call when that comes earlier.
struct NextFunctions {
  size_t (*malloc_usable_size)(void*);
  pid_t (*plain_fork)();
  int (*register_atfork)(void (*)(), void (*)(), void (*)(), void*);
};
const NextFunctions& next();

// Registers our fork handlers. Before anybody else's, so that our prepare handler runs last and our child handler
// first: the others' handlers may allocate, map and touch managed memory.
void register_fork_handlers();

}  // namespace ebb::interpose
