// Rules: raw system calls and the vDSO only; any thread.
// Source: the layout of the vDSO is an ELF image's, vdso(7).
#include "os/clock.h"

#include <elf.h>
#include <sys/auxv.h>
#include <string_view>

#include "base/syscall.h"

namespace ebb {
namespace {

using GetTime = int (*)(clockid_t, timespec*);
constinit GetTime g_get_time = nullptr;

template <class T>
const T* at(uintptr_t address) {
  return reinterpret_cast<const T*>(address);
}

uintptr_t find_in_vdso(uintptr_t image, std::string_view name) {
  const auto* header = at<Elf64_Ehdr>(image);
  const Elf64_Dyn* dynamic = nullptr;
  uintptr_t bias = 0;
  bool loaded = false;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto* part = at<Elf64_Phdr>(image + header->e_phoff + i * header->e_phentsize);
    if (part->p_type == PT_LOAD && !loaded) {
      bias = image + part->p_offset - part->p_vaddr;
      loaded = true;
    }
    if (part->p_type == PT_DYNAMIC) dynamic = at<Elf64_Dyn>(image + part->p_offset);
  }
  if (!loaded || !dynamic) return 0;
  uintptr_t symbols = 0, names = 0;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    if (dynamic->d_tag == DT_SYMTAB) symbols = bias + dynamic->d_un.d_ptr;
    if (dynamic->d_tag == DT_STRTAB) names = bias + dynamic->d_un.d_ptr;
  }
  // The names follow the symbols; of the two kinds of hash table that count symbols, an image may have either.
  if (!symbols || names <= symbols) return 0;
  for (uintptr_t s = symbols; s + sizeof(Elf64_Sym) <= names; s += sizeof(Elf64_Sym)) {
    const auto* symbol = at<Elf64_Sym>(s);
    if (symbol->st_shndx != SHN_UNDEF && name == at<char>(names + symbol->st_name)) return bias + symbol->st_value;
  }
  return 0;
}

}  // namespace

void clock_open() {
  if (g_get_time) return;
  if (const uintptr_t image = getauxval(AT_SYSINFO_EHDR))
    g_get_time = reinterpret_cast<GetTime>(find_in_vdso(image, "__vdso_clock_gettime"));
}

uint64_t clock_ns(clockid_t clock) {
  timespec t = {};
  if (!g_get_time || g_get_time(clock, &t) != 0) raw_syscall(SYS_clock_gettime, clock, as_arg(&t));
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace ebb
