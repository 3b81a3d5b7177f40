// Tests of base/size.h: the grammar accepts what it promises and refuses everything else with the right reason.
#include "base/size.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

uint64_t bytes_of(std::string_view text) {
  const SizeSpec s = parse_size(text, false);
  EXPECT_EQ(s.error, SizeError::kNone) << text;
  EXPECT_FALSE(s.is_percent) << text;
  return s.bytes.count;
}

TEST(Size, UnitsAreBinaryInEverySpelling) {
  EXPECT_EQ(bytes_of("1B"), 1u);
  for (const char* k : {"1K", "1k", "1KiB", "1kib", "1KB", "1kb"}) EXPECT_EQ(bytes_of(k), 1024u) << k;
  for (const char* g : {"8G", "8g", "8GiB", "8gb", "8192M", "8388608k"}) EXPECT_EQ(bytes_of(g), uint64_t{8} << 30) << g;
  EXPECT_EQ(bytes_of("1T"), uint64_t{1} << 40);
  EXPECT_EQ(bytes_of("0512M"), uint64_t{512} << 20);
}

TEST(Size, FractionsAreExactToTheByteBelow) {
  EXPECT_EQ(bytes_of("1.5G"), uint64_t{3} << 29);
  EXPECT_EQ(bytes_of("0.5K"), 512u);
  EXPECT_EQ(bytes_of("0.001K"), 1u);
  EXPECT_EQ(bytes_of("1.0000009K"), 1024u);  // the seventh decimal is dropped
}

TEST(Size, LargestIsTwoToTheSixty) {
  EXPECT_EQ(bytes_of("1048576T"), uint64_t{1} << 60);
  EXPECT_EQ(parse_size("1048577T", false).error, SizeError::kOutOfRange);
  EXPECT_EQ(parse_size("99999999999999999999999999G", false).error, SizeError::kOutOfRange);
}

TEST(Size, RefusalsNameTheirReason) {
  const struct {
    const char* text;
    SizeError error;
  } kCases[] = {
      {"", SizeError::kEmpty},         {"abc", SizeError::kNotANumber},   {"-1G", SizeError::kNotANumber},
      {"+1G", SizeError::kNotANumber}, {" 1G", SizeError::kNotANumber},   {".5G", SizeError::kNotANumber},
      {"1.G", SizeError::kNotANumber}, {"8", SizeError::kNoUnit},         {"1.5", SizeError::kNoUnit},
      {"8Q", SizeError::kBadUnit},     {"8GG", SizeError::kBadUnit},      {"8 G", SizeError::kBadUnit},
      {"8G ", SizeError::kBadUnit},    {"1..5G", SizeError::kNotANumber}, {"1.5.5G", SizeError::kBadUnit},
      {"0G", SizeError::kOutOfRange},  {"0.0M", SizeError::kOutOfRange},  {"50%", SizeError::kBadUnit},
      {"1e3M", SizeError::kBadUnit},   {"0x10M", SizeError::kBadUnit},
  };
  for (const auto& c : kCases) EXPECT_EQ(parse_size(c.text, false).error, c.error) << '"' << c.text << '"';
}

TEST(Size, Percent) {
  SizeSpec s = parse_size("50%", true);
  ASSERT_EQ(s.error, SizeError::kNone);
  EXPECT_TRUE(s.is_percent);
  EXPECT_EQ(percent_of(s.percent_e6, Bytes{1000}).count, 500u);
  s = parse_size("12.5%", true);
  EXPECT_EQ(percent_of(s.percent_e6, Bytes{uint64_t{16} << 40}).count, uint64_t{2} << 40);
  EXPECT_EQ(parse_size("100%", true).error, SizeError::kNone);
  EXPECT_EQ(parse_size("0%", true).error, SizeError::kOutOfRange);
  EXPECT_EQ(parse_size("100.1%", true).error, SizeError::kOutOfRange);
  EXPECT_EQ(parse_size("101%", true).error, SizeError::kOutOfRange);
  EXPECT_FALSE(parse_size("8G", true).is_percent);
}

TEST(Size, EveryErrorHasItsOwnHint) {
  std::string_view seen[6];
  int n = 0;
  for (auto e : {SizeError::kNone, SizeError::kEmpty, SizeError::kNotANumber, SizeError::kNoUnit, SizeError::kBadUnit,
                 SizeError::kOutOfRange}) {
    const std::string_view hint = describe(e);
    EXPECT_FALSE(hint.empty());
    for (int i = 0; i < n; ++i) EXPECT_NE(hint, seen[i]);
    seen[n++] = hint;
  }
}

}  // namespace
}  // namespace ebb
