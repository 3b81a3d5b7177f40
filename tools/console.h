// What the command says and how it ends: stderr lines, exit codes, and numbers as people read them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "snapshot/format.h"

namespace ebb::tools {

// The convention of env, timeout and docker. Everything else is the program's own code.
inline constexpr int kExitOk = 0;
inline constexpr int kExitNotPaged = 1;  // `ebb doctor`: Ebbtide cannot page here
inline constexpr int kExitOurs = 125;
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitSignalBase = 128;

// Ends the command with a message for the user and an exit code. The text says what to do about it.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& text, int exit_code = kExitOurs) : std::runtime_error(text), code_(exit_code) {}
  int exit_code() const { return code_; }

 private:
  int code_;
};

enum class Verbosity { kQuiet, kNormal, kVerbose };  // as EBB_VERBOSE: errors; and warnings; and what we do

// stderr, one write(2) a line, each with "ebb: " in front. A closed or broken stderr is not an error: the program's
// exit code must get through all the same.
class Console {
 public:
  explicit Console(Verbosity verbosity) : verbosity_(verbosity) {}
  Verbosity verbosity() const { return verbosity_; }
  void error(std::string_view text) const;
  void warn(std::string_view text) const;    // unless quiet
  void note(std::string_view text) const;    // unless quiet
  void detail(std::string_view text) const;  // verbose only

 private:
  Verbosity verbosity_;
};

// write(2) until done, whatever it takes; false with errno at the first real error.
bool write_all(int fd, std::string_view text);

std::string version();
using snapshot::readable;  // "1.5 GiB"
// "850 us", "3.21 s", "2 min 13 s", "1 h 02 min".
std::string readable_time(uint64_t ns);
using snapshot::rfc3339;  // "2026-01-31T09:05:07.123Z"
// As a shell would need it: quotes only where they are needed.
std::string shell_quoted(std::string_view word);
// The text of an errno value, with its name's meaning: "Permission denied".
std::string error_text(int error);

}  // namespace ebb::tools
