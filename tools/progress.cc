// How far a long step is: see progress.h.
#include "tools/progress.h"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>

#include "tools/console.h"

namespace ebb::tools {
namespace {

constexpr std::chrono::milliseconds kPatience{1000};
constexpr std::chrono::milliseconds kBetween{200};
constexpr char kClearLine[] = "\r\033[K";

}  // namespace

TerminalProgress::TerminalProgress() : terminal_(isatty(STDERR_FILENO) == 1), next_(Clock::now() + kPatience) {}

TerminalProgress::~TerminalProgress() {
  if (shown_) write_all(STDERR_FILENO, kClearLine);
}

void TerminalProgress::show(const char* step, Bytes done, Bytes total) {
  if (!terminal_ || Clock::now() < next_) return;
  next_ = Clock::now() + kBetween;
  shown_ = true;
  write_all(STDERR_FILENO,
            fmt::format("{}ebb: {}: {} of {}", kClearLine, step, readable(done), readable(std::max(done, total))));
}

}  // namespace ebb::tools
