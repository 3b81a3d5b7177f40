// memkind's default kind, loaded when a process has grown. Loading it costs 2 ms and eleven libraries, which a shell or
// a compiler that starts a thousand times must not pay.
//
// memkind's own jemalloc reads its options from a variable when it is loaded. Writing into the program's environment
// for that moment would race with the program; so we answer for this one name instead (secure_getenv below).
#include <dlfcn.h>
#include <sys/auxv.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "interpose/heap_backend.h"
#include "interpose/heap_route.h"

namespace {

constexpr std::string_view kOptionsName = "JEMK_MALLOC_CONF";

// narenas: memkind asks for 256, which spreads a program of few threads over far too many pages.
// lg_tcache_max: thread caches up to 1 MiB instead of 4 KiB; tcache_nslots_large keeps what they hoard small.
// dirty_decay_ms: freed pages leave DRAM after a second instead of ten: under a budget they are in somebody's way.
constexpr char kOptions[] = EBB_MEMKIND_OPTIONS;

}  // namespace

extern char** environ;

namespace ebb::heap {

bool load_backend(Backend& out) {
  void* library = dlopen("libmemkind.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    log_line(LogLevel::kInfo, "libmemkind.so.0 cannot be loaded: only allocations of 1 MiB and more are managed");
    return false;
  }
  bool complete = true;
  const auto find = [&](auto& slot, const char* name) {
    void* symbol = dlsym(library, name);
    complete &= symbol != nullptr;
    std::memcpy(&slot, &symbol, sizeof slot);
  };
  void** default_kind = nullptr;
  find(default_kind, "MEMKIND_DEFAULT");
  find(out.allocate, "memkind_malloc");
  find(out.allocate_zeroed, "memkind_calloc");
  find(out.allocate_aligned, "memkind_posix_memalign");
  find(out.resize, "memkind_realloc");
  find(out.release, "memkind_free");
  find(out.usable_size, "memkind_malloc_usable_size");
  if (!complete) return false;
  out.kind = *default_kind;
  // What another copy, loaded before us, mapped elsewhere is no use: free() could not tell its pointers from glibc's.
  void* probe = out.allocate(out.kind, 1);
  return probe && is_ours(probe);
}

}  // namespace ebb::heap

// Same contract as glibc's: nothing for a process with raised privileges, else what getenv would find.
extern "C" [[gnu::visibility("default")]] char* secure_getenv(const char* name) noexcept {
  if (getauxval(AT_SECURE) || !environ) return nullptr;
  const size_t length = std::strlen(name);
  for (char** entry = environ; *entry; ++entry)
    if (std::strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  if (ebb::heap::inside_memkind() && name == kOptionsName) return const_cast<char*>(kOptions);
  return nullptr;
}
