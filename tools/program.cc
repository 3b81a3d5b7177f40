// The program that the user wants to run: see program.h.
#include "tools/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cerrno>

#include "tools/console.h"
#include "tools/fd.h"
#include "tools/system_files.h"

namespace ebb::tools {
namespace {

constexpr int kDeepestScript = 4;  // as the kernel: a script's interpreter may be a script

bool executable(const std::string& path, int* error) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return *error = errno, false;
  if (!S_ISREG(info.st_mode)) return *error = S_ISDIR(info.st_mode) ? EISDIR : EACCES, false;
  if (faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) return *error = errno, false;
  return true;
}

[[noreturn]] void refuse(const std::string& command, int error) {
  if (error == EISDIR) throw Failure(fmt::format("cannot run '{}': it is a directory", command), kExitNotExecutable);
  if (error == ENOENT || error == ENOTDIR)
    throw Failure(fmt::format("cannot run '{}': no such command; check the spelling and PATH", command), kExitNotFound);
  throw Failure(
      fmt::format("cannot run '{}': {}; is the file meant to be a program (chmod +x), on a file system without "
                  "noexec?",
                  command, error_text(error)),
      kExitNotExecutable);
}

std::string look_up(const std::string& command, const char* path_variable) {
  int error = ENOENT;
  if (command.find('/') != std::string::npos) {
    if (!executable(command, &error)) refuse(command, error);
    return command;
  }
  const std::string_view path = path_variable ? path_variable : "/bin:/usr/bin";
  // An empty element means the current folder, so no split() here.
  int found = ENOENT;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder(path.substr(begin, end - begin));
    const std::string candidate = folder.empty() ? "./" + command : folder + "/" + command;
    if (executable(candidate, &error)) return candidate;
    if (error == EACCES) found = EACCES;  // there, but not for us: keep looking, as execvp does
    begin = end + 1;
  }
  refuse(command, found);
}

// The loader ignores LD_PRELOAD in programs that gain rights.
bool gains_rights(int fd) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return false;
  if ((info.st_mode & S_ISUID) && info.st_uid != geteuid()) return true;
  if ((info.st_mode & S_ISGID) && (info.st_mode & S_IXGRP) && info.st_gid != getegid()) return true;
  return geteuid() != 0 && fgetxattr(fd, "security.capability", nullptr, 0) > 0;
}

void judge(Program* program, const std::string& path, int depth) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // Executable, but not readable: only the kernel can look inside. The loader copes with either kind.
  if (!file.valid()) return;
  const auto limit = [&](Help help, std::string reason) {
    program->help = help;
    program->reason = (depth > 0 ? "its interpreter " + path + " " : "it ") + std::move(reason);
  };
  if (depth == 0 && gains_rights(file.get()))
    return limit(Help::kChildrenOnly,
                 "is set-user-ID, set-group-ID or has file capabilities: the loader admits no library");
  const FileFacts facts = inspect_file(file.get());
  switch (facts.kind) {
    case FileKind::kDynamic:
    case FileKind::kUnknown:
      return;
    case FileKind::kStatic:
      return limit(Help::kChildrenOnly, "is statically linked: no library can be added");
    case FileKind::kOtherMachine:
      return limit(Help::kNone, "is built for another processor or for 32 bits");
    case FileKind::kOtherLibc:
      return limit(Help::kNone,
                   fmt::format("uses another C library ({}), the library is for glibc", facts.interpreter));
    case FileKind::kScript:
      if (depth < kDeepestScript && !facts.interpreter.empty()) judge(program, facts.interpreter, depth + 1);
      return;
  }
}

}  // namespace

Program find_program(const std::string& command, const char* path_variable) {
  if (command.empty()) throw Failure("cannot run '': the command is empty", kExitNotFound);
  Program program;
  program.path = look_up(command, path_variable);
  judge(&program, program.path, 0);
  return program;
}

ExecFailure describe_exec_failure(const std::string& command, const std::string& path, int error) {
  if (error == ENOENT) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const std::string interpreter = file.valid() ? inspect_file(file.get()).interpreter : "";
    if (!interpreter.empty())
      return {fmt::format("cannot run '{}': its interpreter {} does not exist", command, shell_quoted(interpreter)),
              kExitNotFound};
    return {fmt::format("cannot run '{}': {}", command, error_text(error)), kExitNotFound};
  }
  if (error == E2BIG)
    return {fmt::format("cannot run '{}': arguments and environment are too large together", command), kExitOurs};
  return {fmt::format("cannot run '{}': {}", command, error_text(error)), kExitNotExecutable};
}

}  // namespace ebb::tools
