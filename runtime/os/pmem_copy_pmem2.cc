// libpmem2, asked for its copy. See pmem_copy.h.
//
// Rule: pmem2_map_new() is not called. It looks for pmem regions by walking /sys/bus/nd/devices with fchdir(2), which
// changes the directory of all of the program's threads meanwhile. So what kind of memory the tier is we find out
// ourselves and tell (pmem2_map_from_existing); nothing but a page of our own is ever made known to the library.
#include "os/pmem_copy.h"

#include <dlfcn.h>
#include <libpmem2.h>
#include <strings.h>
#include <sys/mman.h>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/syscall.h"
#include "base/units.h"

namespace ebb {
namespace {

static_assert(kPmemCopyFlags == (PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NONTEMPORAL));

bool is_pmem(bool dax) {
  const char* forced = secure_getenv("PMEM2_FORCE_GRANULARITY");
  if (!forced) return dax;
  return strcasecmp(forced, "BYTE") == 0 || strcasecmp(forced, "CACHE_LINE") == 0;
}

struct Library {
  decltype(&pmem2_source_from_anon) source_from_anon = nullptr;
  decltype(&pmem2_source_delete) source_delete = nullptr;
  decltype(&pmem2_map_from_existing) map_from_existing = nullptr;
  decltype(&pmem2_map_delete) map_delete = nullptr;
  decltype(&pmem2_get_memcpy_fn) get_memcpy_fn = nullptr;

  bool load() {
    void* library = dlopen("libpmem2.so.1", RTLD_NOW | RTLD_LOCAL);  // for good: its copy is in use from now on
    if (!library) return false;
    bool complete = true;
    const auto find = [&](auto& slot, const char* name) {
      void* symbol = dlsym(library, name);
      complete &= symbol != nullptr;
      std::memcpy(&slot, &symbol, sizeof slot);
    };
    find(source_from_anon, "pmem2_source_from_anon");
    find(source_delete, "pmem2_source_delete");
    find(map_from_existing, "pmem2_map_from_existing");
    find(map_delete, "pmem2_map_delete");
    find(get_memcpy_fn, "pmem2_get_memcpy_fn");
    return complete;
  }
};

// The copy depends on the granularity and the processor, not on the mapping that it is asked of. At BYTE it is the same
// one but for flushes of what is not a whole cache line, and pages are; at PAGE it calls msync(2), with locks and
// errno.
PmemCopy copy_of(const Library& library, void* page) {
  pmem2_source* source = nullptr;
  pmem2_map* map = nullptr;
  PmemCopy copy = nullptr;
  if (library.source_from_anon(&source, kPageSize) != 0) return nullptr;
  if (library.map_from_existing(&map, source, page, kPageSize, PMEM2_GRANULARITY_CACHE_LINE) == 0) {
    copy = library.get_memcpy_fn(map);
    library.map_delete(&map);
  }
  library.source_delete(&source);
  return copy;
}

}  // namespace

PmemCopy load_pmem_copy(bool dax) {
  if (!is_pmem(dax)) return nullptr;
  PmemCopy copy = nullptr;
  Library library;
  if (library.load()) {
    const long page = raw_syscall(SYS_mmap, 0, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!is_error(page)) {
      copy = copy_of(library, reinterpret_cast<void*>(page));
      raw_syscall(SYS_munmap, page, kPageSize);
    }
  }
  log_line(LogLevel::kInfo, copy ? "pages go to the slow tier by libpmem2's non-temporal copy"
                                 : "libpmem2.so.1 cannot be used: pages go to the slow tier by memcpy");
  return copy;
}

}  // namespace ebb
