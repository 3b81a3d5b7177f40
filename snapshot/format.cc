// Sizes and times: see format.h.
#include "snapshot/format.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <cerrno>
#include <chrono>
#include <ctime>

#include "snapshot/error.h"

namespace ebb::snapshot {

std::string readable(Bytes bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes.count < 1024) return fmt::format("{} B", bytes.count);
  auto value = static_cast<double>(bytes.count);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string rfc3339(uint64_t unix_ns) {
  const auto seconds = static_cast<time_t>(unix_ns / 1'000'000'000);
  tm t = {};
  gmtime_r(&seconds, &t);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec, unix_ns % 1'000'000'000 / 1'000'000);
}

std::optional<uint64_t> parse_rfc3339(const std::string& text) {
  tm t = {};
  unsigned milliseconds = 0;
  if (sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3uZ", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
             &t.tm_sec, &milliseconds) != 7)
    return std::nullopt;
  t.tm_year -= 1900;
  t.tm_mon -= 1;
  const time_t seconds = timegm(&t);
  if (seconds < 0) return std::nullopt;
  const uint64_t ns = static_cast<uint64_t>(seconds) * 1'000'000'000 + uint64_t{milliseconds} * 1'000'000;
  if (rfc3339(ns) != text) return std::nullopt;  // month 13, blanks, something behind it
  return ns;
}

uint64_t unix_now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

std::string random_hex(size_t count) {
  std::string out;
  while (out.size() < count) {
    uint64_t word = 0;
    if (getrandom(&word, sizeof word, 0) != sizeof word) {
      if (errno == EINTR) continue;
      fail_with_errno("cannot get random numbers", errno);
    }
    out += fmt::format("{:016x}", word);
  }
  out.resize(count);
  return out;
}

}  // namespace ebb::snapshot
