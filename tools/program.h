// The program that the user wants to run: where it is, whether it can be started, and whether Ebbtide can help it.
#pragma once

#include <string>

#include "tools/elf.h"

namespace ebb::tools {

enum class Help {
  kFull,          // the library goes in
  kChildrenOnly,  // this program itself cannot be helped, dynamic programs that it starts can
  kNone,          // the library must stay out, or the loader would complain or fail
};

struct Program {
  std::string path;
  Help help = Help::kFull;
  std::string reason;  // why not kFull, as a clause: "it is statically linked"
};

// Looks `command` up as execvp does (`path_variable` as $PATH; null: the system's default).
// Failure 127 when there is no such file, 126 when it cannot be executed.
Program find_program(const std::string& command, const char* path_variable);

// The message and exit code for an exec that failed although the file was there.
struct ExecFailure {
  std::string text;
  int exit_code;
};
ExecFailure describe_exec_failure(const std::string& command, const std::string& path, int error);

}  // namespace ebb::tools
