// The engine: what the interposed symbols call. Each function does what the system call of the same name does, and
// keeps the runtime's picture of managed ranges true across it. Below: job, policy, pager, store, space, os, base.
//
// Rules for every function here: raw system calls only, no errno, no allocation from libc, no managed memory touched
// while the state lock is held; signals are blocked meanwhile, so all of them may be called from signal handlers.
// Results are as the kernel gives them: a value or -errno.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace ebb::engine {

// Reads the environment (EBB_DRAM, EBB_SLOW, EBB_JOB, EBB_CLEAN_AHEAD, EBB_VERBOSE) once, from the constructor.
// `environ` is passed in because getenv may be someone else's. Opens nothing, maps nothing, starts nothing: that waits
// for the first managed range. With nothing or nonsense in the environment the engine stays off (one warning for
// nonsense).
void boot(char** environment);
// Whether this process may manage memory at all. False: every function below is the plain system call.
bool enabled();

// Loads the copy that the slow tier gains from, once, when it is of the kind (os/pmem_copy.h). Called when the process
// has grown, with no lock held and nested allocations going to glibc; an exception to the rules above.
void load_tier_copy();

// The smallest budget that makes sense: a few slots, some room, and something to keep.
inline constexpr Bytes kSmallestBudget{uint64_t{32} << 20};
// The smallest map that is managed.
inline constexpr size_t kSmallestMap = size_t{1} << 20;

// mmap(2) and its kin as the program calls them; qualifying maps are adopted where they are.
long map(void* address, size_t bytes, int prot, int flags, int fd, off_t offset);
long unmap(void* address, size_t bytes);
long remap(void* old, size_t old_bytes, size_t bytes, int flags, void* wanted);
long advise(void* address, size_t bytes, int advice);
long protect(void* address, size_t bytes, int prot);
long protect_key(void* address, size_t bytes, int prot, int key);
long lock(void* address, size_t bytes, unsigned flags);             // mlock2(2)
long unlock(void* address, size_t bytes);                           // munlock(2)
long lock_all(int flags);                                           // mlockall(2)
long unlock_all();                                                  // munlockall(2)
long resident(void* address, size_t bytes, unsigned char* vector);  // mincore(2): pages in the store count as resident

// Memory for our own heap: anonymous, private, read-write, managed, 2 MiB-aligned; `huge`: of huge pages from its
// first touch on (paging asks for them in any case, PageOps::arm()). `hint` is where to put it (or null); with `exact`,
// there or nowhere (-EEXIST). `bytes` is a multiple of a page.
long map_heap(void* hint, size_t bytes, bool exact, bool huge);

// Around fork(2), in the thread that forks. `prepare` returns with the state lock held and the pager parked; exactly
// one of the other two follows in each process.
void fork_prepare();
void fork_parent();
void fork_child();

// At exit, from a destructor: nothing is freed or stopped; counters are brought up to date.
void at_exit();

}  // namespace ebb::engine
