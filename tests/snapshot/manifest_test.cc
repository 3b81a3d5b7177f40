// Manifests: as written, and whatever is not.
#include "snapshot/manifest.h"

#include <random>

#include "snapshot/checksum.h"
#include "snapshot/files.h"
#include "snapshot/format.h"
#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

Manifest sample() {
  Manifest m;
  m.tag = "a";
  describe_here(&m);
  m.command = {"sh", "-c", "\xff not UTF-8", "ä"};
  m.pids = {1, 2};
  m.parent_id = "p";
  m.parent_tag = "base";
  m.generation = 3;
  m.open_files = {{"/data/\xfe.h5", Bytes{5}, -7, 42, std::nullopt}};
  m.clone_arguments = {"k"};
  m.dram_budget = Bytes{uint64_t{1} << 40};
  m.engine = {{"maps", {1, 2, 3}}};
  m.files = {{"heap/0", Bytes{10}, Bytes{4096}, "00"}, {"images/x", Bytes{0}, Bytes{0}, std::nullopt}};
  return m;
}

// As manifest_text() would write `document`.
std::string sealed(nlohmann::json document) {
  document.erase("checksum");
  document["checksum"] = checksum_of_text(document.dump(2) + "\n");
  return document.dump(2) + "\n";
}

TEST(ManifestTest, ComesBackAsItWas) {
  const Manifest m = sample();
  const Manifest back = parse_manifest(manifest_text(m));
  EXPECT_EQ(manifest_text(back), manifest_text(m));
  EXPECT_EQ(back.command, m.command);
  EXPECT_EQ(back.open_files, m.open_files);
  EXPECT_EQ(back.files, m.files);
  EXPECT_EQ(back.created_unix_ns, m.created_unix_ns);
  EXPECT_EQ(back.engine, m.engine);
  EXPECT_FALSE(m.boot_id.empty());
}

TEST(ManifestTest, EveryFlipAndEveryTruncationIsNoticed) {
  const std::string good = manifest_text(sample());
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] ^= static_cast<char>(1 << bit);
      EXPECT_THROW(parse_manifest(bad), SnapshotError) << "byte " << i << " bit " << bit;
    }
    EXPECT_THROW(parse_manifest(good.substr(0, i)), SnapshotError) << "cut at " << i;
  }
  EXPECT_THROW(parse_manifest(good + "\n"), SnapshotError);
}

TEST(ManifestTest, WhatIsNoJsonIsNotQuoted) {
  std::string text = manifest_text(sample());
  text.replace(text.find("\"tag\"") + 1, 2, "\xdcn");
  EXPECT_THAT(error_of([&] { parse_manifest(text); }),
              ContainsRegex("^the manifest is damaged: no JSON at byte [0-9]+$"));
}

TEST(ManifestTest, HostileOnesAreRefused) {
  const auto document = nlohmann::json::parse(manifest_text(sample()));
  EXPECT_EQ(parse_manifest(sealed(document)).tag, "a");
  const auto refused = [&](const char* pointer, const nlohmann::json& value) {
    auto changed = document;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    return error_of([&] { parse_manifest(sealed(changed)); });
  };
  for (const char* path : {"../x", "/etc/passwd", "a/../b", "", "a//b", "./a", "a/"})
    EXPECT_THAT(refused("/files/0/path", path), HasSubstr("leaves the folder")) << path;
  EXPECT_THAT(refused("/files/0/path", "zzz"), HasSubstr("not in order"));
  EXPECT_THAT(refused("/files/0/bytes", 1e99), HasSubstr("out of range"));
  EXPECT_THAT(refused("/files/0/bytes", ~uint64_t{0}), HasSubstr("out of range"));
  EXPECT_THAT(refused("/owner_uid", -1), HasSubstr("out of range"));
  EXPECT_THAT(refused("/tag", 5), HasSubstr("damaged"));
  EXPECT_THAT(refused("/created_at", "yesterday"), HasSubstr("not a time"));
  EXPECT_THAT(refused("/schema", "ebbtide.snapshot/2"), HasSubstr("newer"));
  EXPECT_THAT(refused("/schema", "other"), HasSubstr("none of ours"));
  EXPECT_THAT(refused("/persisted", true), HasSubstr("no checksum"));
  EXPECT_THAT(error_of([] { parse_manifest(std::string(1 << 20, '[')); }), HasSubstr("nested"));
}

TEST(FormatTest, TimesComeBack) {
  EXPECT_EQ(rfc3339(*parse_rfc3339("2026-01-31T09:05:07.123Z")), "2026-01-31T09:05:07.123Z");
  for (const char* bad : {"", "2026-13-01T00:00:00.000Z", "2026-01-31T09:05:07.123Z ", "2026-01-31 09:05:07.123Z"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

TEST(FilesTest, SafePathsStayInside) {
  for (const char* good : {"a", "a/b", "..a", "a..b/c"}) EXPECT_TRUE(is_safe_path(good)) << good;
  for (const char* bad : {"", "/", "/a", "a/", "..", "a/..", "../a", ".", "a/./b", "a//b"})
    EXPECT_FALSE(is_safe_path(bad)) << bad;
  EXPECT_FALSE(is_safe_path(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace ebb::snapshot
