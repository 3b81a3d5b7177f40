// What kind of executable a file is: see elf.h. The file is not trusted: every offset is checked by pread's result.
#include "tools/elf.h"

#include <elf.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>

#include "tools/system_files.h"

namespace ebb::tools {
namespace {

constexpr size_t kHeadBytes = 256;  // the kernel reads as much of a #! line
constexpr unsigned kMostHeaders = 512;
constexpr size_t kLongestPath = 4096;

FileFacts inspect_script(std::string_view head) {
  FileFacts facts;
  facts.kind = FileKind::kScript;
  const std::string line =
      trimmed(head.substr(2, head.find('\n') == std::string_view::npos ? head.size() - 2 : head.find('\n') - 2));
  const size_t blank = line.find_first_of(" \t");
  facts.interpreter = line.substr(0, blank);
  if (blank != std::string::npos) facts.argument = trimmed(std::string_view(line).substr(blank));
  return facts;
}

FileFacts inspect_elf(int fd, const Elf64_Ehdr& header) {
  FileFacts facts;
  facts.kind = FileKind::kOtherMachine;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64)
    return facts;
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return facts.kind = FileKind::kUnknown, facts;

  facts.kind = FileKind::kStatic;
  const unsigned count = std::min<unsigned>(header.e_phnum, kMostHeaders);
  for (unsigned i = 0; i < count; ++i) {
    Elf64_Phdr segment = {};
    const auto at = static_cast<off_t>(header.e_phoff + i * sizeof(segment));
    if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment)) return facts.kind = FileKind::kUnknown, facts;
    if (segment.p_type != PT_INTERP) continue;
    std::string loader(std::min<size_t>(segment.p_filesz, kLongestPath), '\0');
    const ssize_t n = pread(fd, loader.data(), loader.size(), static_cast<off_t>(segment.p_offset));
    if (n <= 0) return facts.kind = FileKind::kUnknown, facts;
    loader.resize(strnlen(loader.data(), static_cast<size_t>(n)));
    const size_t slash = loader.rfind('/');
    const bool glibc = loader.compare(slash == std::string::npos ? 0 : slash + 1, 9, "ld-linux-") == 0;
    facts.kind = glibc ? FileKind::kDynamic : FileKind::kOtherLibc;
    facts.interpreter = loader;
    return facts;
  }
  return facts;
}

}  // namespace

FileFacts inspect_file(int fd) {
  char head[kHeadBytes] = {};
  const ssize_t n = pread(fd, head, sizeof(head), 0);
  if (n >= 2 && head[0] == '#' && head[1] == '!') return inspect_script({head, static_cast<size_t>(n)});
  Elf64_Ehdr header = {};
  if (n < static_cast<ssize_t>(sizeof(header)) || std::memcmp(head, ELFMAG, SELFMAG) != 0) return {};
  std::memcpy(&header, head, sizeof(header));
  return inspect_elf(fd, header);
}

}  // namespace ebb::tools
