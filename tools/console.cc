// What the command says: see console.h.
#include "tools/console.h"

#include <fmt/format.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

namespace ebb::tools {
namespace {

void say(std::string_view label, std::string_view text) {
  write_all(STDERR_FILENO, fmt::format("ebb: {}{}\n", label, text));
}

}  // namespace

void Console::error(std::string_view text) const { say("error: ", text); }

void Console::warn(std::string_view text) const {
  if (verbosity_ != Verbosity::kQuiet) say("warning: ", text);
}

void Console::note(std::string_view text) const {
  if (verbosity_ != Verbosity::kQuiet) say("", text);
}

void Console::detail(std::string_view text) const {
  if (verbosity_ == Verbosity::kVerbose) say("", text);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string version() { return EBB_VERSION; }

std::string readable_time(uint64_t ns) {
  if (ns < 1'000'000) return fmt::format("{} us", ns / 1000);
  if (ns < 1'000'000'000) return fmt::format("{} ms", ns / 1'000'000);
  const uint64_t seconds = ns / 1'000'000'000;
  if (seconds < 60) return fmt::format("{}.{:02} s", seconds, ns % 1'000'000'000 / 10'000'000);
  if (seconds < 3600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {:02} min", seconds / 3600, seconds / 60 % 60);
}

std::string shell_quoted(std::string_view word) {
  static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) return std::string(word);
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string error_text(int error) { return std::strerror(error); }

}  // namespace ebb::tools
