// Two users, and a file system that is full: need root.
#include <fcntl.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr uid_t kOther = 65534;

class UsersTest : public CatalogueTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to be two users";
    ASSERT_EQ(chown(folder_.c_str(), kOther, kOther), 0);
  }
  // `act` as the other user: 0 when it says so.
  template <class Act>
  static int as_other(const Act& act) {
    return in_child([&] {
      if (setgroups(0, nullptr) != 0 || setgid(kOther) != 0 || setuid(kOther) != 0) return 98;
      return act() ? 0 : 1;
    });
  }
};

TEST_F(UsersTest, NobodyUsesAnothersSnapshots) {
  EXPECT_EQ(as_other([&] { return make("theirs").state == State::kCreated; }), 0);
  EXPECT_THAT(error_of([&] { catalogue(); }), HasSubstr("belong to user 65534"));
  const Catalogue admin(root_, Foreign::kAllow);
  EXPECT_EQ(admin.open_for_restore("theirs").snapshot.tag, "theirs");

  // The same names, but what is in them is root's.
  ASSERT_EQ(chown((root_ / "theirs/heap/0.heap").c_str(), 0, 0), 0);
  EXPECT_THAT(error_of([&] { admin.open_for_restore("theirs"); }), HasSubstr("belongs to user 0"));
  EXPECT_FALSE(verify(admin.find("theirs")).empty());
}

TEST_F(UsersTest, AnotherUserCannotEvenLook) {
  fs::remove_all(root_);
  ASSERT_EQ(chown(folder_.c_str(), 0, 0), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  make("mine");
  EXPECT_EQ(as_other([&] {
              std::error_code error;
              fs::directory_iterator(root_, error);
              return error && !error_of([&] { catalogue(); }).empty();
            }),
            0);
}

TEST_F(UsersTest, AFolderAboveThatAnotherUserOwnsIsRefused) {
  fs::create_directories(root_);
  ASSERT_EQ(chmod(root_.c_str(), 0700), 0);
  EXPECT_THAT(error_of([&] { catalogue(); }), HasSubstr("belongs to user 65534"));
}

class FullTest : public CatalogueTest {
 protected:
  void SetUp() override {
    fs::create_directory(root_);
    if (mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=1m,mode=700") != 0)
      GTEST_SKIP() << "cannot mount a small tmpfs: needs root";
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount(root_.c_str());
  }
  // Leaves so many bytes, at most.
  void fill_up(uint64_t left) {
    std::ofstream out(root_ / ".full", std::ios::binary);
    for (uint64_t free = fs::space(root_).available; free > left; free -= 4096)
      out << std::string(4096, 'x') << std::flush;
  }
  bool mounted_ = false;
};

TEST_F(FullTest, PublishingIntoAFullFileSystemLeavesNothing) {
  for (uint64_t left = 0; left <= 10 * 4096; left += 4096) {
    fill_up(left);
    const std::string text = error_of([&] {
      Draft draft = catalogue().begin("a");
      draft.publish(Durability::kPersisted);
    });
    fs::remove(root_ / ".full");
    if (text.empty()) {
      EXPECT_THAT(verify(catalogue().find("a")), IsEmpty());
      catalogue().remove("a");
    } else {
      EXPECT_THAT(text, HasSubstr("No space left")) << left;
    }
    EXPECT_THAT(tags(), IsEmpty()) << left;
  }
}

TEST_F(FullTest, PersistingInAFullFileSystemKeepsTheSnapshot) {
  {
    Draft draft = catalogue().begin("a");
    write_file(draft.images() / "x", "x");
    draft.publish();
  }
  fill_up(0);
  EXPECT_THAT(error_of([&] { catalogue().persist("a"); }), HasSubstr("No space left"));
  EXPECT_EQ(catalogue().find("a").state, State::kCreated);
  EXPECT_THAT(verify(catalogue().find("a")), IsEmpty());
  fs::remove(root_ / ".full");
  catalogue().persist("a");
  EXPECT_EQ(catalogue().find("a").state, State::kPersisted);
}

}  // namespace
}  // namespace ebb::snapshot
