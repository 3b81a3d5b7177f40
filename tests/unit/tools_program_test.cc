// Executables of all kinds, made of bytes; and the words of LD_PRELOAD.
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cstring>

#include "tools/console.h"
#include "tools/elf.h"
#include "tools/fd.h"
#include "tools/preload.h"
#include "tools/program.h"

namespace ebb::tools {
namespace {

FileFacts inspect(const std::string& bytes) {
  const Fd file(memfd_create("program", MFD_CLOEXEC));
  EXPECT_TRUE(write_all(file.get(), bytes));
  return inspect_file(file.get());
}

Elf64_Ehdr elf_header() {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = EM_X86_64;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phoff = sizeof(header);
  return header;
}

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string elf_with_loader(const std::string& loader) {
  Elf64_Ehdr header = elf_header();
  header.e_phnum = 1;
  Elf64_Phdr segment = {};
  segment.p_type = PT_INTERP;
  segment.p_offset = sizeof(header) + sizeof(segment);
  segment.p_filesz = loader.size() + 1;
  return bytes_of(header) + bytes_of(segment) + loader + '\0';
}

TEST(ElfTest, TellsTheKindsApart) {
  EXPECT_EQ(inspect(elf_with_loader("/lib64/ld-linux-x86-64.so.2")).kind, FileKind::kDynamic);
  EXPECT_EQ(inspect(elf_with_loader("/lib/ld-musl-x86_64.so.1")).kind, FileKind::kOtherLibc);
  EXPECT_EQ(inspect(bytes_of(elf_header())).kind, FileKind::kStatic);
  Elf64_Ehdr other = elf_header();
  other.e_machine = EM_AARCH64;
  EXPECT_EQ(inspect(bytes_of(other)).kind, FileKind::kOtherMachine);
  other = elf_header();
  other.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(inspect(bytes_of(other)).kind, FileKind::kOtherMachine);
  EXPECT_EQ(inspect("").kind, FileKind::kUnknown);
  EXPECT_EQ(inspect("echo hello").kind, FileKind::kUnknown);
}

TEST(ElfTest, SurvivesDamagedHeaders) {
  Elf64_Ehdr header = elf_header();
  header.e_phnum = 0xffff;
  header.e_phoff = ~uint64_t{0};
  EXPECT_EQ(inspect(bytes_of(header)).kind, FileKind::kUnknown);
  EXPECT_EQ(inspect(elf_with_loader("/lib64/ld-linux-x86-64.so.2").substr(0, 100)).kind, FileKind::kUnknown);
}

TEST(ElfTest, ReadsScripts) {
  const auto facts = inspect("#! /usr/bin/env  Rscript --vanilla \nx <- 1\n");
  EXPECT_EQ(facts.kind, FileKind::kScript);
  EXPECT_EQ(facts.interpreter, "/usr/bin/env");
  EXPECT_EQ(facts.argument, "Rscript --vanilla");
  EXPECT_EQ(inspect("#!/bin/sh").interpreter, "/bin/sh");
}

TEST(ProgramTest, FindsAsExecvpDoes) {
  EXPECT_EQ(find_program("sh", "/nowhere::/bin").path, "/bin/sh");
  EXPECT_EQ(find_program("/bin/sh", "").path, "/bin/sh");
  EXPECT_EQ(find_program("sh", nullptr).path, "/bin/sh");
  const auto code = [](const std::string& command) {
    try {
      find_program(command, "/bin");
    } catch (const Failure& failure) {
      return failure.exit_code();
    }
    return 0;
  };
  EXPECT_EQ(code("no-such-command-here"), kExitNotFound);
  EXPECT_EQ(code("/etc/passwd"), kExitNotExecutable);
  EXPECT_EQ(code("/etc/passwd/x"), kExitNotFound);
  EXPECT_EQ(code("/"), kExitNotExecutable);
  EXPECT_EQ(code(""), kExitNotFound);
}

TEST(PreloadTest, KeepsWhatIsThereAndNamesAllocators) {
  EXPECT_EQ(plan_preload("/l/libebbtide.so", "").value, "/l/libebbtide.so");
  const auto plan = plan_preload("/l/libebbtide.so", " a.so:/x/libjemalloc.so.2  /old/libebbtide.so");
  EXPECT_EQ(plan.value, "/l/libebbtide.so:a.so:/x/libjemalloc.so.2");
  EXPECT_EQ(plan.others, std::vector<std::string>{"libjemalloc.so.2"});
  EXPECT_EQ(plan.sanitizer, "");
  EXPECT_EQ(plan_preload("/l/libebbtide.so", "/usr/lib/libasan.so.8").sanitizer, "libasan.so.8");
}

}  // namespace
}  // namespace ebb::tools
