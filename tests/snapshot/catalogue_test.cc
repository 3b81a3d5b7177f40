// The catalogue: states, names, parents, users, what is refused.
#include <fcntl.h>
#include <sys/stat.h>

#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

mode_t mode_of(const fs::path& path) {
  struct stat info = {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

TEST(DefaultRootTest, OptionThenDataHomeThenHome) {
  EXPECT_EQ(default_root({"/a", "/b", "/c"}), "/a");
  EXPECT_EQ(default_root({nullptr, "/b", "/c"}), "/b/ebbtide/snapshots");
  EXPECT_EQ(default_root({"", "relative", "/c"}), "/c/.local/share/ebbtide/snapshots");
  EXPECT_THAT(error_of([] { default_root({"x", nullptr, "/c"}); }), HasSubstr("EBB_SNAPSHOTS"));
  EXPECT_THAT(error_of([] { default_root({nullptr, nullptr, nullptr}); }), HasSubstr("HOME"));
}

TEST_F(CatalogueTest, ASnapshotIsIncompleteThenCreatedThenPersisted) {
  {
    Draft draft = catalogue().begin("a");
    fill(&draft, "x");
    EXPECT_THAT(tags(), ElementsAre("a Incomplete"));
    EXPECT_THAT(catalogue().sweep(), IsEmpty());
    draft.publish();
  }
  EXPECT_THAT(tags(), ElementsAre("a Created"));
  catalogue().persist("a");
  EXPECT_THAT(tags(), ElementsAre("a Persisted"));
  EXPECT_THAT(verify(catalogue().find("a")), IsEmpty());
  EXPECT_EQ(catalogue().find("a").manifest->command, (std::vector<std::string>{"Rscript", "a b.R"}));
}

TEST_F(CatalogueTest, FilesThatSnapshotsShareHaveTheChecksumOfTheFirst) {
  make("a", Durability::kPersisted);
  const auto with_heap_of_a = [&](const std::string& tag) {
    Draft draft = catalogue().begin(tag);
    fill(&draft, "x");
    fs::remove(draft.heap() / "0.heap");
    fs::create_hard_link(root_ / "a/heap/0.heap", draft.heap() / "0.heap");
    write_file(draft.heap() / "1.heap", "its own");
    draft.publish();
    catalogue().persist(tag);
  };
  with_heap_of_a("b");
  EXPECT_THAT(verify(catalogue().find("b")), IsEmpty());
  fs::remove_all(root_ / "b");
  std::fstream shared(root_ / "a/heap/0.heap", std::ios::in | std::ios::out | std::ios::binary);
  shared.write("C", 1);
  shared.close();
  with_heap_of_a("c");
  const auto problems = verify(catalogue().find("c"));
  ASSERT_EQ(problems.size(), 1u) << "what was damaged before it was persisted is not taken for what it should be";
  EXPECT_EQ(problems[0].file, "heap/0.heap");
  // The same name does not make it the same file.
  make("d");
  catalogue().persist("d");
  EXPECT_THAT(verify(catalogue().find("d")), IsEmpty());
}

TEST_F(CatalogueTest, ADraftThatIsNotPublishedLeavesNothing) {
  { Draft draft = catalogue().begin("a"); }
  EXPECT_THAT(tags(), IsEmpty());
}

TEST_F(CatalogueTest, EverythingIsForItsOwnerOnly) {
  const mode_t old = umask(0);
  Draft draft = catalogue().begin("a");
  fill(&draft, "x");
  chmod((draft.heap() / "0.heap").c_str(), 0666);
  fs::create_directory(draft.images() / "more");
  draft.publish();
  umask(old);
  EXPECT_EQ(mode_of(root_), 0700u);
  for (const auto& entry : fs::recursive_directory_iterator(root_ / "a"))
    EXPECT_EQ(mode_of(entry.path()), entry.is_directory() ? 0700u : 0600u) << entry.path();
}

TEST_F(CatalogueTest, OnlyFilesAndFoldersAreTaken) {
  Draft draft = catalogue().begin("a");
  fs::create_symlink("/etc/passwd", draft.images() / "link");
  EXPECT_THAT(error_of([&] { draft.publish(); }), HasSubstr("images/link"));
  EXPECT_THAT(tags(), ElementsAre("a Incomplete"));
  fs::remove(draft.images() / "link");
  draft.publish();
  EXPECT_THAT(tags(), ElementsAre("a Created"));
}

TEST_F(CatalogueTest, ATagIsReplacedOnlyWhenThatIsAskedFor) {
  make("a");
  EXPECT_THAT(error_of([&] { catalogue().begin("a"); }), HasSubstr("already"));
  Draft draft = catalogue().begin("a", {}, true);
  fill(&draft, "new");
  draft.publish(Durability::kPersisted);
  draft.remove_replaced();
  EXPECT_THAT(tags(), ElementsAre("a Persisted"));
  EXPECT_EQ(read_file(root_ / "a/images/core-1.img"), "core of new");
}

TEST_F(CatalogueTest, ASecondDraftOfTheSameTagIsRefusedAtItsEnd) {
  Draft one = catalogue().begin("a"), two = catalogue().begin("a");
  one.publish();
  EXPECT_THAT(error_of([&] { two.publish(); }), HasSubstr("already"));
}

TEST_F(CatalogueTest, WhoHasPublishedASnapshotHoldsItUntilItIsPersisted) {
  Draft draft = catalogue().begin("a");
  fill(&draft, "a");
  Fd made = draft.publish();
  EXPECT_THAT(error_of([&] { catalogue().remove("a"); }), HasSubstr("needs it"));
  Draft next = catalogue().begin("a", {}, true);
  fill(&next, "b");
  EXPECT_THAT(error_of([&] { next.publish(); }), HasSubstr("needs it"));
  catalogue().persist("a", {}, Pace::kAtOnce, std::move(made));
  EXPECT_THAT(tags(), ElementsAre("a Incomplete", "a Persisted")) << "the first is the next";
  next.publish();
  next.remove_replaced();
  EXPECT_THAT(tags(), ElementsAre("a Created"));
}

TEST_F(CatalogueTest, WhoIsAboutToReplaceASnapshotKeepsNewUsersOut) {
  make("a");
  Fd in_use = catalogue().wait_for_users("a");
  ASSERT_TRUE(in_use.valid());
  Draft next = catalogue().begin("a", {}, true);
  fill(&next, "b");
  next.keep_users_out(std::move(in_use));
  EXPECT_THAT(error_of([&] { catalogue().persist("a"); }), HasSubstr("being removed or replaced"));
  next.publish();
  next.remove_replaced();
  EXPECT_THAT(tags(), ElementsAre("a Created"));
  EXPECT_EQ(read_file(root_ / "a/images/core-1.img"), "core of b");
  catalogue().persist("a");
  EXPECT_THAT(tags(), ElementsAre("a Persisted"));
}

TEST_F(CatalogueTest, SimilarTagsAreNamed) {
  make("after-load");
  EXPECT_THAT(error_of([&] { catalogue().find("afterload"); }), HasSubstr("after-load?"));
  EXPECT_THAT(error_of([&] { catalogue().find("other"); }), HasSubstr("ebb snapshots ls"));
  for (const char* bad : {"", "..", ".draft-x", "a/b", "-x", "a b", "a\nb"})
    EXPECT_THAT(error_of([&] { catalogue().find(bad); }), HasSubstr("is not a tag")) << bad;
}

TEST_F(CatalogueTest, ParentsOutliveTheirChildren) {
  make("a");
  EXPECT_EQ(make("b", Durability::kCreated, "a").manifest->generation, 1u);
  EXPECT_THAT(error_of([&] { catalogue().remove("a"); }), HasSubstr("snapshot b needs it"));
  EXPECT_THAT(error_of([&] {
                Draft draft = catalogue().begin("a", {}, true);
                draft.publish();
              }),
              HasSubstr("snapshot b"));
  catalogue().persist("b");  // and what it needs
  EXPECT_EQ(catalogue().find("a").state, State::kPersisted);
  write_file(root_ / "a/manifest.json", "{");
  EXPECT_EQ(catalogue().find("b").state, State::kError);
  EXPECT_THAT(error_of([&] { catalogue().remove("a"); }), HasSubstr("snapshot b needs it"));
  catalogue().remove("b");
  catalogue().remove("a");
  EXPECT_THAT(tags(), IsEmpty());
}

TEST_F(CatalogueTest, WhatWasReplacedIsRemovedAfterwards) {
  make("a");
  const std::string old = catalogue().find("a").manifest->id;
  Draft draft = catalogue().begin("a", {}, true);
  fill(&draft, "new");
  draft.publish();
  EXPECT_NE(catalogue().find("a").manifest->id, old);
  EXPECT_EQ(catalogue().list().size(), 2u) << "the old one is there still, as a draft";
  EXPECT_THAT(catalogue().sweep(), IsEmpty()) << "whoever replaced it removes it";
  draft.remove_replaced();
  EXPECT_EQ(catalogue().list().size(), 1u);
  draft.remove_replaced();  // there is nothing any more
  EXPECT_EQ(read_file(root_ / "a/images/core-1.img"), "core of new");
}

TEST_F(CatalogueTest, ADraftHoldsItsParent) {
  make("a");
  Draft draft = catalogue().begin("b", "a");
  EXPECT_THAT(error_of([&] { catalogue().remove("a"); }), HasSubstr("process " + std::to_string(getpid())));
}

TEST_F(CatalogueTest, WhatIsInUseStays) {
  make("a");
  {
    const HeldSnapshot held = catalogue().open_for_restore("a");
    EXPECT_THAT(error_of([&] { catalogue().remove("a"); }), HasSubstr("process " + std::to_string(getpid())));
    PrunePolicy all;
    all.keep_last = 0;
    const auto decisions = catalogue().prune(all, false);
    ASSERT_EQ(decisions.size(), 1u);
    EXPECT_FALSE(decisions[0].remove);
    EXPECT_THAT(decisions[0].reason, HasSubstr("in use by process"));
  }
  catalogue().remove("a");
}

TEST_F(CatalogueTest, PruneRemovesAndDryRunDoesNot) {
  make("a");
  make("b");
  PrunePolicy one;
  one.keep_last = 1;
  catalogue().prune(one, true);
  EXPECT_EQ(tags().size(), 2u);
  catalogue().prune(one, false);
  EXPECT_THAT(tags(), ElementsAre("b Created"));
}

TEST_F(CatalogueTest, CreatedUnderAnotherBootIsAnError) {
  Draft draft = catalogue().begin("a");
  draft.manifest().boot_id = "another";
  draft.publish();
  EXPECT_THAT(tags(), ElementsAre("a Error"));
  EXPECT_THAT(error_of([&] { catalogue().open_for_restore("a"); }), HasSubstr("not persisted"));
  EXPECT_EQ(verify(catalogue().find("a")).size(), 1u);
}

TEST_F(CatalogueTest, ARootThatOthersCanWriteToIsRefused) {
  make("a");
  chmod(root_.c_str(), 0770);
  EXPECT_THAT(error_of([&] { catalogue(); }), HasSubstr("others can write"));
  chmod(root_.c_str(), 0700);
  chmod(folder_.c_str(), 0707);
  EXPECT_THAT(error_of([&] { catalogue(); }), HasSubstr("others can write"));
  chmod(folder_.c_str(), 01777);  // as /tmp
  EXPECT_EQ(error_of([&] { catalogue(); }), "");
}

TEST_F(CatalogueTest, ASnapshotThatOthersCanWriteToIsNotRestored) {
  make("a");
  for (const char* name : {".", "images", "images/pages-1.img", "manifest.json"}) {
    const fs::path path = root_ / "a" / name;
    const mode_t mode = mode_of(path);
    chmod(path.c_str(), mode | 020);
    EXPECT_THAT(error_of([&] { catalogue().open_for_restore("a"); }), HasSubstr("others can write")) << name;
    EXPECT_FALSE(verify(catalogue().find("a")).empty()) << name;
    chmod(path.c_str(), mode);
  }
  EXPECT_EQ(error_of([&] { catalogue().open_for_restore("a"); }), "");
}

TEST_F(CatalogueTest, AFolderThatWasRenamedByHandIsAnError) {
  make("a");
  fs::rename(root_ / "a", root_ / "b");
  EXPECT_EQ(catalogue().find("b").state, State::kError);
}

TEST_F(CatalogueTest, SpaceThatIsNotThereIsSaid) {
  catalogue();
  EXPECT_EQ(error_of([&] { check_space(root_, Bytes{1}); }), "");
  EXPECT_THAT(error_of([&] { check_space(root_, Bytes{uint64_t{1} << 60}); }), HasSubstr("1.0 EiB needed"));
}

}  // namespace
}  // namespace ebb::snapshot
