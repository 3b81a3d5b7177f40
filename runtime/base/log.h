// One-line messages on stderr, and nowhere else: the program's stdout is never ours.
//
// Rules: one write(2) per line so that lines of several processes do not mix; a fixed buffer; no allocation, no lock.
// A process prints at most kMaxLines lines (a program in trouble must not have its log drowned by ours).
#pragma once

#include "base/text.h"

namespace ebb {

enum class LogLevel : int {
  kError = 0,    // data or the job is at risk
  kWarning = 1,  // something the user asked for is not in force
  kInfo = 2,     // -v
};

inline constexpr int kMaxLines = 100;

// Remembers what descriptor 2 is. Once it is something else (a program may close it and open its data there), nothing
// is written to it any more.
void remember_stderr();
// What is printed: messages up to this level. Default kWarning. Set once at start-up.
void set_log_level(LogLevel level);
LogLevel log_level();

// Prints "ebbtide: TEXT\n" if the level asks for it.
void log_text(LogLevel level, std::string_view text);

template <class... Parts>
[[gnu::cold]] void log_line(LogLevel level, const Parts&... parts) {
  if (level > log_level()) return;
  TextBuffer<512> text;
  (text << ... << parts);
  log_text(level, text.view());
}

// The symbolic name of an errno value ("ENOSPC") or its number; never null.
const char* errno_name(int error);

}  // namespace ebb
