// Export and import: what goes out comes in, and hostile archives do not.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <random>

#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Item {
  std::string path;
  std::string content;
  unsigned type = AE_IFREG;
  std::string link = "";
  bool hard = false;
};

class ArchiveTest : public CatalogueTest {
 protected:
  fs::path tar() const { return folder_ / "s.tar"; }
  void write(const std::string& tag) {
    const Fd out(open(tar().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    write_archive(catalogue().open_for_restore(tag), out.get());
  }
  Imported read(const std::optional<std::string>& as = {}) {
    const Fd in(open(tar().c_str(), O_RDONLY | O_CLOEXEC));
    return read_archive(catalogue(), in.get(), as);
  }
  void pack(const std::vector<Item>& items) {
    archive* out = archive_write_new();
    archive_write_set_format_pax(out);
    ASSERT_EQ(archive_write_open_filename(out, tar().c_str()), ARCHIVE_OK);
    for (const auto& item : items) {
      archive_entry* entry = archive_entry_new();
      archive_entry_set_pathname(entry, item.path.c_str());
      archive_entry_set_filetype(entry, item.type);
      archive_entry_set_perm(entry, 0600);
      archive_entry_set_size(entry, static_cast<la_int64_t>(item.content.size()));
      if (item.hard) archive_entry_set_hardlink(entry, item.link.c_str());
      if (item.type == AE_IFLNK) archive_entry_set_symlink(entry, item.link.c_str());
      ASSERT_EQ(archive_write_header(out, entry), ARCHIVE_OK) << item.path;
      archive_write_data(out, item.content.data(), item.content.size());
      archive_entry_free(entry);
    }
    archive_write_free(out);
  }
  // The items of a good archive of a small snapshot "a", which is removed then.
  std::vector<Item> good() {
    Draft draft = catalogue().begin("a");
    write_file(draft.images() / "x.img", "some bytes");
    write_file(draft.heap() / "y", "more bytes");
    draft.publish(Durability::kPersisted);
    std::vector<Item> out;
    for (const char* name : {"manifest.json", "heap/y", "images/x.img"})
      out.push_back({fs::path("a") / name, read_file(root_ / "a" / name)});
    catalogue().remove("a");
    return out;
  }
  std::string refusal(const std::vector<Item>& items) {
    pack(items);
    const std::string text = error_of([&] { read(); });
    EXPECT_THAT(tags(), IsEmpty());
    EXPECT_FALSE(fs::exists(folder_ / "evil"));
    return text;
  }
};

TEST_F(ArchiveTest, ComesBackWithItsHoles) {
  {
    Draft draft = catalogue().begin("a");
    fill(&draft, "x");
    write_file(draft.heap() / "all-hole", "");
    fs::resize_file(draft.heap() / "all-hole", 200 << 20);
    write_file(draft.heap() / "middle", "begin");
    fs::resize_file(draft.heap() / "middle", 100 << 20);
    std::ofstream(draft.heap() / "middle", std::ios::app) << "end";
    fs::create_directories(draft.images() / "deep/er");
    write_file(draft.images() / "deep/er/f", "f");
    draft.publish(Durability::kPersisted);
  }
  write("a");
  EXPECT_LT(fs::file_size(tar()), 2u << 20);
  EXPECT_EQ(read("copy").missing_parent, "");
  const Snapshot a = catalogue().find("a"), copy = catalogue().find("copy");
  EXPECT_EQ(copy.state, State::kPersisted);
  EXPECT_THAT(verify(copy), IsEmpty());
  EXPECT_LT(copy.allocated.count, 8u << 20);
  EXPECT_NE(copy.manifest->id, a.manifest->id);
  for (size_t i = 0; i < a.manifest->files.size(); ++i)
    EXPECT_EQ(copy.manifest->files[i].checksum, a.manifest->files[i].checksum);
  EXPECT_THAT(error_of([&] { read(); }), HasSubstr("already"));
  catalogue().remove("a");
  read();
  EXPECT_EQ(catalogue().find("a").manifest->id, a.manifest->id);
}

TEST_F(ArchiveTest, AMissingParentIsSaid) {
  make("a", Durability::kPersisted);
  make("b", Durability::kPersisted, "a");
  write("b");
  catalogue().remove("b");
  EXPECT_EQ(read("c").missing_parent, "");
  catalogue().remove("c");
  catalogue().remove("a");
  EXPECT_EQ(read().missing_parent, "a");
  EXPECT_THAT(catalogue().find("b").reason, HasSubstr("import it"));
}

TEST_F(ArchiveTest, OnlyPersistedSnapshotsGoOut) {
  make("a");
  EXPECT_THAT(error_of([&] { write("a"); }), HasSubstr("it is Created"));
}

TEST_F(ArchiveTest, HostileArchivesAreRefused) {
  const auto items = good();
  pack(items);
  read();
  catalogue().remove("a");
  const auto with = [&](const Item& item) {
    auto changed = items;
    changed.push_back(item);
    return refusal(changed);
  };
  EXPECT_THAT(with({"a/../../evil", "x"}), HasSubstr("leads out"));
  EXPECT_THAT(with({(folder_ / "evil").string(), "x"}), HasSubstr("leads out"));
  EXPECT_THAT(with({"a/images/link", "", AE_IFLNK, "/etc/passwd"}), HasSubstr("neither"));
  EXPECT_THAT(with({"a/images/hard", "", AE_IFREG, "a/heap/y", true}), HasSubstr("neither"));
  EXPECT_THAT(with({"a/images/fifo", "", AE_IFIFO}), HasSubstr("neither"));
  EXPECT_THAT(with({"a/extra", "x"}), HasSubstr("does not name"));
  EXPECT_THAT(with({"b/heap/y", "more bytes"}), HasSubstr("does not name"));
  EXPECT_THAT(with({"a/heap/y", "more bytes"}), HasSubstr("twice"));
  EXPECT_THAT(with({"a/in-use", "x"}), HasSubstr("does not name"));

  auto changed = items;
  changed[1].content += std::string(1 << 20, 'x');
  EXPECT_THAT(refusal(changed), HasSubstr("instead of 10"));
  changed = items;
  changed[2].content[3] ^= 1;
  EXPECT_THAT(refusal(changed), HasSubstr("images/x.img is damaged"));
  changed = items;
  changed[0].content[30] ^= 1;
  EXPECT_THAT(refusal(changed), HasSubstr("damaged"));
  changed.assign(items.begin() + 1, items.end());
  EXPECT_THAT(refusal(changed), HasSubstr("does not begin with a manifest"));
  changed.assign(items.begin(), items.end() - 1);
  EXPECT_THAT(refusal(changed), HasSubstr("images/x.img is missing"));
  EXPECT_THAT(refusal({}), HasSubstr("refused"));
}

TEST_F(ArchiveTest, WhatDoesNotFitIsRefusedBeforeItIsWritten) {
  Manifest manifest;
  manifest.tag = "a";
  describe_here(&manifest);
  manifest.persisted = true;
  manifest.files = {{"heap/y", Bytes{uint64_t{1} << 59}, Bytes{uint64_t{1} << 59}, std::string(32, '0')}};
  EXPECT_THAT(refusal({{"a/manifest.json", manifest_text(manifest)}}), HasSubstr("not enough space"));
}

TEST_F(ArchiveTest, DamagedArchivesNeverGiveASnapshotThatIsNotWhole) {
  pack(good());
  const std::string whole = read_file(tar());
  std::mt19937_64 random(3);
  for (int i = 0; i < 150; ++i) {
    std::string bad = whole;
    if (i % 3 == 0)
      bad.resize(random() % bad.size());
    else
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    write_file(tar(), bad);
    if (!error_of([&] { read(); }).empty()) {
      EXPECT_THAT(tags(), IsEmpty());
      continue;
    }
    EXPECT_THAT(verify(catalogue().find("a")), IsEmpty());  // the flip was in padding or in a time
    EXPECT_EQ(read_file(root_ / "a/images/x.img"), "some bytes");
    catalogue().remove("a");
  }
}

TEST_F(ArchiveTest, ImportingIsAllOrNothing) {
  pack(good());
  for (int step = 1;; ++step) {
    const int status = in_child([&] {
      die_at(step);
      read();
      return 0;
    });
    catalogue().sweep();
    if (!tags().empty()) {
      EXPECT_THAT(verify(catalogue().find("a")), IsEmpty());
      catalogue().remove("a");
    }
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0) break;
    ASSERT_EQ(WEXITSTATUS(status), 77);
    ASSERT_LT(step, 50);
  }
}

}  // namespace
}  // namespace ebb::snapshot
