// Starting the command `ebb` from inside a program, out of its process tree, and waiting for its end.
//
// Rules: raw system calls only, no allocation from libc, no descriptor or signal that the program could notice: the
// process between us and the tool ends without a SIGCHLD. Never under a lock of the engine.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"
#include "base/text.h"

namespace ebb::interpose {

// A tool that runs, or has run. Its stderr is a file in memory, on which it holds a lock while it lives: whoever gets
// the lock knows that it has ended, however it did, and so does a process that is restored, for which there is no tool.
class Tool {
 public:
  Tool() = default;
  ~Tool();
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;

  // Executes `path` with `arguments`, NULL-terminated, in a session of its own, as a child of nobody in this process's
  // tree, with this process's environment but for what loads us into programs.
  Result<void> start(const char* path, const char* const* arguments);
  // Returns when it has ended.
  void wait();
  // The last line that it said, without "ebb: error: " in front; cut at `size`.
  std::string_view last_line(char* text, size_t size) const;

 private:
  int said_ = -1;
};

// The path of the command: $EBB_COMMAND, or beside the file of this library. "" in `out` when it is not there.
void find_command(TextBuffer<4096>* out);

// Of this process's environment as it is now; nullptr when it is not set.
const char* variable(std::string_view name);

// Up to size - 1 bytes of a file, with a NUL behind them; 0 when it cannot be read.
size_t read_file(const char* path, char* text, size_t size);

}  // namespace ebb::interpose
