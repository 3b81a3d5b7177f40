// libpmem2's copy to persistent memory: stores that bypass the caches, chosen by it for this processor. Loaded at run
// time by pmem_copy_pmem2.cc, or never (pmem_copy_none.cc, chosen by -DEBB_PMEM2=OFF): then pages are copied by memcpy.
#pragma once

#include <cstddef>

namespace ebb {

// As pmem2_memcpy_fn. Takes no lock, allocates nothing and sets no errno: fit for the pager's thread and for fork
// children.
using PmemCopy = void* (*)(void* to, const void* from, size_t bytes, unsigned flags);

// Past the caches, without a fence: only the program and its fork children read the store, and no power failure is
// survived. (PMEM2_F_MEM_NOFLUSH would say so better, but libpmem2 takes it as a wish for memmove.)
inline constexpr unsigned kPmemCopyFlags = 1u << 0 /* PMEM2_F_MEM_NODRAIN */ | 1u << 1 /* PMEM2_F_MEM_NONTEMPORAL */;

// The copy for a mapped tier: libpmem2's on persistent memory (`dax`), else null. PMEM2_FORCE_GRANULARITY decides
// instead where it is set: BYTE or CACHE_LINE are persistent memory, PAGE is not. Null as well when the library
// cannot be loaded.
//
// Loads a library, which allocates and takes the loader's lock: never under a lock of ours, from a signal handler or in
// the pager's thread. A thread that holds the loader's lock may be in a constructor that waits for the state lock.
PmemCopy load_pmem_copy(bool dax);

}  // namespace ebb
