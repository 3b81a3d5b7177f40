// What kind of executable a file is, as far as preloading a library into it is concerned.
#pragma once

#include <string>

namespace ebb::tools {

enum class FileKind {
  kDynamic,       // ELF, 64-bit x86, loaded by glibc's loader: can be helped
  kStatic,        // ELF without a loader: no library can be added
  kOtherMachine,  // ELF for 32 bits or another processor
  kOtherLibc,     // ELF with a loader that is not glibc's (musl)
  kScript,        // starts with #!
  kUnknown,       // anything else: the kernel or the shell will say
};

struct FileFacts {
  FileKind kind = FileKind::kUnknown;
  std::string interpreter;  // of a script: its program; of a dynamic ELF: its loader
  std::string argument;     // of a script: the one argument that the kernel passes, or ""
};

// Reads the first bytes of an open file.
FileFacts inspect_file(int fd);

}  // namespace ebb::tools
