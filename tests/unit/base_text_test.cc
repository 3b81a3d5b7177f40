// Tests of base/text.h and base/log.h: formatting into fixed buffers, errno names, one write per line, the line limit.
#include "base/text.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/log.h"

namespace ebb {
namespace {

template <class... Parts>
std::string format(const Parts&... parts) {
  TextBuffer<256> t;
  (t << ... << parts);
  return std::string(t.view());
}

TEST(Text, Numbers) {
  EXPECT_EQ(format(0), "0");
  EXPECT_EQ(format(-1), "-1");
  EXPECT_EQ(format(INT64_MIN), "-9223372036854775808");
  EXPECT_EQ(format(UINT64_MAX), "18446744073709551615");
  EXPECT_EQ(format(Hex{0}), "0x0");
  EXPECT_EQ(format(Hex{UINT64_MAX}), "0xffffffffffffffff");
  EXPECT_EQ(format(Address{0x7f00dead}), "0x7f00dead");
  EXPECT_EQ(format("a", 'b', std::string_view("c"), 1u), "abc1");
  EXPECT_EQ(format(static_cast<const char*>(nullptr)), "(null)");
}

TEST(Text, BytesInBinaryUnits) {
  EXPECT_EQ(format(Bytes{0}), "0 B");
  EXPECT_EQ(format(Bytes{1023}), "1023 B");
  EXPECT_EQ(format(Bytes{1024}), "1.0 KiB");
  EXPECT_EQ(format(Bytes{1536}), "1.5 KiB");
  EXPECT_EQ(format(Bytes{(uint64_t{5} << 30) - 1}), "4.9 GiB");
  EXPECT_EQ(format(Bytes{uint64_t{3} << 50}), "3.0 PiB");
}

TEST(Text, CutsWhatDoesNotFitAndStaysTerminated) {
  TextBuffer<8> t;
  t << "123456789";
  EXPECT_TRUE(t.full());
  EXPECT_EQ(t.view(), "1234567");
  EXPECT_STREQ(t.c_str(), "1234567");
  t << 5;
  EXPECT_EQ(t.view(), "1234567");
}

TEST(Log, ErrnoNames) {
  EXPECT_STREQ(errno_name(ENOSPC), "ENOSPC");
  EXPECT_STREQ(errno_name(EIO), "EIO");
  EXPECT_STREQ(errno_name(EOPNOTSUPP), "EOPNOTSUPP");
  for (int e = -1; e < 200; ++e) {
    ASSERT_NE(errno_name(e), nullptr);
    EXPECT_GT(std::string_view(errno_name(e)).size(), 2u);
  }
}

// Each of these runs in a process of its own: the number of lines is counted per process.
TEST(LogDeathTest, PrintsWhatTheLevelAsksFor) {
  const auto run = [] {
    log_line(LogLevel::kWarning, "budget of ", Bytes{1 << 20}, " is small");
    log_line(LogLevel::kInfo, "hidden");
    set_log_level(LogLevel::kError);
    log_line(LogLevel::kWarning, "hidden too");
    log_line(LogLevel::kError, "shown");
    _exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "^ebbtide: budget of 1.0 MiB is small\nebbtide: shown\n$");
}

TEST(LogDeathTest, StopsAfterTheLimitAndSaysSo) {
  const auto run = [] {
    for (int i = 0; i < kMaxLines + 50; ++i) log_line(LogLevel::kError, "line ", i);
    _exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "line 99\nebbtide: further messages of this process are dropped\n$");
}

TEST(CheckDeathTest, NamesTheConditionAndAborts) {
  const int seven = 7;
  EXPECT_EXIT(EBB_CHECK(seven == 8), testing::KilledBySignal(SIGABRT),
              "ebbtide: internal error: seven == 8 \\(base_text_test.cc:[0-9]+\\)");
  EBB_CHECK(seven == 7);
}

}  // namespace
}  // namespace ebb
