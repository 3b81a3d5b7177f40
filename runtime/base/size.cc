#include "base/size.h"

namespace ebb {
namespace {

constexpr uint64_t kLargest = uint64_t{1} << 60;
constexpr uint64_t kFraction = 1'000'000;

bool same_letters(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    if (c != lower[i]) return false;
  }
  return true;
}

// log2 of the unit, or -1.
int unit_shift(std::string_view unit) {
  static constexpr struct {
    const char* letter;
    const char* iec;
    const char* si;
    int shift;
  } kUnits[] = {{"k", "kib", "kb", 10}, {"m", "mib", "mb", 20}, {"g", "gib", "gb", 30}, {"t", "tib", "tb", 40}};
  for (const auto& u : kUnits)
    if (same_letters(unit, u.letter) || same_letters(unit, u.iec) || same_letters(unit, u.si)) return u.shift;
  return same_letters(unit, "b") ? 0 : -1;
}

}  // namespace

SizeSpec parse_size(std::string_view text, bool allow_percent) {
  SizeSpec spec;
  const auto fail = [&](SizeError e) { return spec.error = e, spec; };
  if (text.empty()) return fail(SizeError::kEmpty);

  size_t at = 0;
  uint64_t whole = 0, fraction = 0, scale = kFraction;
  bool any_digit = false;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    any_digit = true;
    whole = whole * 10 + static_cast<uint64_t>(text[at] - '0');
    if (whole > kLargest) return fail(SizeError::kOutOfRange);
  }
  if (at < text.size() && text[at] == '.') {
    bool any_decimal = false;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      any_decimal = true;
      scale /= 10;
      fraction += static_cast<uint64_t>(text[at] - '0') * scale;  // beyond six decimals: dropped
    }
    if (!any_decimal) return fail(SizeError::kNotANumber);
  }
  if (!any_digit) return fail(SizeError::kNotANumber);

  const std::string_view unit = text.substr(at);
  if (unit.empty()) return fail(SizeError::kNoUnit);
  if (unit == "%") {
    if (!allow_percent) return fail(SizeError::kBadUnit);
    spec.is_percent = true;
    if (whole > 100) return fail(SizeError::kOutOfRange);
    spec.percent_e6 = whole * kFraction + fraction;
    if (spec.percent_e6 == 0 || spec.percent_e6 > 100 * kFraction) return fail(SizeError::kOutOfRange);
    return spec;
  }
  const int shift = unit_shift(unit);
  if (shift < 0) return fail(SizeError::kBadUnit);
  if (whole > (kLargest >> shift)) return fail(SizeError::kOutOfRange);
  const auto fine = static_cast<unsigned __int128>(fraction) << shift;
  spec.bytes = Bytes{(whole << shift) + static_cast<uint64_t>(fine / kFraction)};
  if (spec.bytes.count == 0) return fail(SizeError::kOutOfRange);
  return spec;
}

const char* describe(SizeError error) {
  switch (error) {
    case SizeError::kNone:
      return "is fine";
    case SizeError::kEmpty:
      return "is empty: say for example 8G";
    case SizeError::kNotANumber:
      return "is not a size: say for example 8G, 512M or 50%";
    case SizeError::kNoUnit:
      return "has no unit: say for example 8G or 8M";
    case SizeError::kBadUnit:
      return "has an unknown unit: use K, M, G or T (binary), or % where a share makes sense";
    case SizeError::kOutOfRange:
      return "is out of range";
  }
  return "is not a size";
}

Bytes percent_of(uint64_t percent_e6, Bytes total) {
  return {static_cast<uint64_t>(static_cast<unsigned __int128>(total.count) * percent_e6 / (100 * kFraction))};
}

}  // namespace ebb
