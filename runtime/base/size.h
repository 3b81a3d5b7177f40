// The size grammar of the command line and the environment. Strict: a bare number is refused (Slurm reads it as MB,
// others as bytes), a typo is an error and never a silent default.
//
//   SIZE    = NUMBER UNIT        8G 8GiB 8g 8192M 1.5T 64KiB   (all binary: 1K = 1024)
//   PERCENT = NUMBER %           50% 12.5%                      (of a total that the caller knows)
#pragma once

#include <string_view>

#include "base/units.h"

namespace ebb {

enum class SizeError {
  kNone,
  kEmpty,
  kNotANumber,  // "abc", "-1G", "1..5G"
  kNoUnit,      // "8": say 8G or 8M
  kBadUnit,     // "8Q"
  kOutOfRange,  // zero, more than 2^60 bytes, or more than 100%
};

struct SizeSpec {
  SizeError error = SizeError::kNone;
  bool is_percent = false;
  Bytes bytes{};            // when !is_percent
  uint64_t percent_e6 = 0;  // when is_percent: millionths of a percent point, 50% = 50'000'000
};

// Pure; allocates nothing.
SizeSpec parse_size(std::string_view text, bool allow_percent);
// A hint for the user, without the offending text: "has no unit: say 8G or 8M".
const char* describe(SizeError error);
// `percent_e6` of `total`.
Bytes percent_of(uint64_t percent_e6, Bytes total);

}  // namespace ebb
