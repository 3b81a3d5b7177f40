// Damage of any file is found by verify().
#include <sys/stat.h>
#include <random>

#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::IsEmpty;

class DamageTest : public CatalogueTest {
 protected:
  DamageTest() {
    make("a", Durability::kPersisted);
    for (const auto& entry : fs::recursive_directory_iterator(root_ / "a"))
      if (entry.is_regular_file()) files_.push_back(entry.path());
  }
  std::vector<Problem> problems() { return verify(catalogue().find("a")); }
  std::vector<fs::path> files_;
};

TEST_F(DamageTest, FlipsAndTruncationsOfEveryFileAreFound) {
  EXPECT_EQ(files_.size(), 6u);
  std::mt19937_64 random(7);
  for (const auto& file : files_) {
    const std::string good = read_file(file);
    for (int i = 0; i < 60 && !good.empty(); ++i) {
      std::string bad = good;
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      write_file(file, bad);
      EXPECT_FALSE(problems().empty()) << file;
      if (file.parent_path().filename() == "images") {
        EXPECT_NE(error_of([&] { catalogue().open_for_restore("a"); }), "") << file;
      }
      write_file(file, good.substr(0, random() % good.size()));
      EXPECT_FALSE(problems().empty()) << file;
    }
    write_file(file, good + "x");
    EXPECT_FALSE(problems().empty()) << file;
    fs::rename(file, folder_ / "away");
    EXPECT_FALSE(problems().empty()) << file;
    fs::rename(folder_ / "away", file);
    write_file(file, good);
    EXPECT_THAT(problems(), IsEmpty()) << file;
  }
}

TEST_F(DamageTest, WhatDoesNotBelongThereIsNamed) {
  const auto one = [&](const std::string& file, const std::string& what) {
    const auto found = problems();
    ASSERT_EQ(found.size(), 1u) << file;
    EXPECT_EQ(found[0].file, file);
    EXPECT_THAT(found[0].what, testing::HasSubstr(what));
  };
  const fs::path a = root_ / "a";
  write_file(a / "images/extra.img", "");
  chmod((a / "images/extra.img").c_str(), 0600);
  one("images/extra.img", "unexpected file");
  fs::remove(a / "images/extra.img");
  fs::create_directory(a / "other");
  chmod((a / "other").c_str(), 0700);
  one("other", "unexpected folder");
  fs::remove(a / "other");
  fs::rename(a / "heap/0.heap", folder_ / "0.heap");
  fs::create_symlink(folder_ / "0.heap", a / "heap/0.heap");
  one("heap/0.heap", "not a regular file");
  fs::remove(a / "heap/0.heap");
  fs::rename(folder_ / "0.heap", a / "heap/0.heap");
  chmod((a / "heap/0.heap").c_str(), 0640);
  one("heap/0.heap", "wider than 600");
  chmod((a / "heap/0.heap").c_str(), 0600);
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(DamageTest, AShortFileMakesTheSnapshotAnError) {
  fs::resize_file(root_ / "a/heap/0.heap", 5);
  const Snapshot a = catalogue().find("a");
  EXPECT_EQ(a.state, State::kError);
  EXPECT_THAT(a.reason, testing::HasSubstr("heap/0.heap"));
  EXPECT_THAT(error_of([&] { catalogue().open_for_restore("a"); }), testing::HasSubstr("heap/0.heap"));
  EXPECT_THAT(error_of([&] { catalogue().begin("b", "a"); }), testing::HasSubstr("cannot be built on"));
  catalogue().remove("a");
  EXPECT_THAT(tags(), IsEmpty());
}

}  // namespace
}  // namespace ebb::snapshot
