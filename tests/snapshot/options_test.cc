// The command line of `ebb snapshots`.
#include "tools/snapshots_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/console.h"

namespace ebb::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string failure(const std::vector<std::string>& arguments) {
  try {
    parse_snapshots(arguments);
  } catch (const Failure& e) {
    return e.what();
  }
  return "";
}

TEST(SnapshotsOptionsTest, Durations) {
  EXPECT_EQ(parse_duration("30m")->count(), 1800);
  EXPECT_EQ(parse_duration("12h")->count(), 43200);
  EXPECT_EQ(parse_duration("7d")->count(), 604800);
  for (const char* bad : {"", "7", "d", "0d", "-1d", "1.5h", "7D", "7 d", "99999999999999999999d", "9999999999d"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(SnapshotsOptionsTest, EachActionHasItsWords) {
  EXPECT_TRUE(parse_snapshots({"ls", "--json"}).json);
  EXPECT_THAT(parse_snapshots({"rm", "a", "b", "--root", "/r"}).tags, ElementsAre("a", "b"));
  const auto out = parse_snapshots({"export", "a", "-"});
  EXPECT_EQ(out.file, "-");
  EXPECT_THAT(out.tags, ElementsAre("a"));
  EXPECT_EQ(parse_snapshots({"import", "-", "--as", "b"}).as, "b");
  const auto prune = parse_snapshots({"prune", "--keep-last=3", "--max-size", "1G", "--older-than", "7d", "--dry-run"});
  EXPECT_EQ(prune.policy.keep_last, 3u);
  EXPECT_EQ(prune.policy.max_size->count, uint64_t{1} << 30);
  EXPECT_TRUE(prune.dry_run);
  EXPECT_TRUE(parse_snapshots({"prune", "--help"}).help);
}

TEST(SnapshotsOptionsTest, MistakesAreNamed) {
  EXPECT_THAT(failure({}), HasSubstr("say what to do"));
  EXPECT_THAT(failure({"lst"}), HasSubstr("unknown word lst"));
  EXPECT_THAT(failure({"ls", "--as", "x"}), HasSubstr("unknown option --as"));
  EXPECT_THAT(failure({"show"}), HasSubstr("show TAG"));
  EXPECT_THAT(failure({"verify"}), HasSubstr("--all"));
  EXPECT_THAT(failure({"verify", "a", "--all"}), HasSubstr("--all"));
  EXPECT_THAT(failure({"prune"}), HasSubstr("needs a rule"));
  EXPECT_THAT(failure({"prune", "--max-size", "100"}), HasSubstr("has no unit"));
  EXPECT_THAT(failure({"prune", "--older-than", "7"}), HasSubstr("not a time"));
  EXPECT_THAT(failure({"prune", "--keep-last", "-1"}), HasSubstr("--keep-last"));
  EXPECT_THAT(failure({"export", "a"}), HasSubstr("export TAG FILE"));
}

}  // namespace
}  // namespace ebb::tools
