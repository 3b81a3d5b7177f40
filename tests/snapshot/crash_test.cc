// A process that ends at any step leaves the old state or the new one, and what is left over can be swept.
#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CrashTest : public CatalogueTest {
 protected:
  // Lets `act` die at its first, second, ... failure point until it gets through; `check` looks after each death and
  // after the end, each in a catalogue that `prepare` made anew. The number of deaths.
  template <class Prepare, class Act, class Check>
  int at_every_step(const Prepare& prepare, const Act& act, const Check& check) {
    for (int step = 1; step < 100; ++step) {
      fs::remove_all(root_);
      prepare();
      const int status = in_child([&] {
        die_at(step);
        act();
        return 0;
      });
      SCOPED_TRACE("step " + std::to_string(step));
      EXPECT_TRUE(WIFEXITED(status));
      catalogue().sweep();
      for (const auto& entry : fs::directory_iterator(root_))
        EXPECT_THAT(entry.path().filename().string(), AnyOf(".lock", is_a_tag_)) << "left over";
      check();
      if (WEXITSTATUS(status) == 0) return step - 1;
      EXPECT_EQ(WEXITSTATUS(status), 77);
    }
    ADD_FAILURE() << "never gets through";
    return 0;
  }
  void whole(const std::string& tag, const std::string& content) {
    const Snapshot s = catalogue().find(tag);
    EXPECT_THAT(s.state, AnyOf(State::kCreated, State::kPersisted)) << s.reason;
    EXPECT_THAT(verify(s), IsEmpty());
    EXPECT_EQ(read_file(root_ / tag / "images/core-1.img"), "core of " + content);
  }
  testing::Matcher<std::string> is_a_tag_ = testing::MatchesRegex("[a-z].*");
};

TEST_F(CrashTest, PublishingIsAllOrNothing) {
  for (const auto durability : {Durability::kCreated, Durability::kPersisted}) {
    const int deaths = at_every_step([] {},
                                     [&] {
                                       Draft draft = catalogue().begin("a");
                                       fill(&draft, "a");
                                       draft.publish(durability);
                                     },
                                     [&] {
                                       if (!tags().empty()) whole("a", "a");
                                     });
    EXPECT_GE(deaths, durability == Durability::kCreated ? 4 : 9);
    EXPECT_THAT(tags(), ElementsAre(durability == Durability::kCreated ? "a Created" : "a Persisted"));
  }
}

TEST_F(CrashTest, ReplacingKeepsTheOldOrHasTheNew) {
  const int deaths = at_every_step([&] { make("a"); },
                                   [&] {
                                     Draft draft = catalogue().begin("a", {}, true);
                                     fill(&draft, "new");
                                     draft.publish(Durability::kPersisted);
                                   },
                                   [&] {
                                     const bool persisted = catalogue().find("a").state == State::kPersisted;
                                     whole("a", persisted ? "new" : "content of a");
                                   });
  EXPECT_GE(deaths, 9);
}

TEST_F(CrashTest, PersistingKeepsTheSnapshot) {
  const int deaths =
      at_every_step([&] { make("a"); }, [&] { catalogue().persist("a"); }, [&] { whole("a", "content of a"); });
  EXPECT_GE(deaths, 8);
  EXPECT_THAT(tags(), ElementsAre("a Persisted"));
}

TEST_F(CrashTest, RemovingIsAllOrNothing) {
  const int deaths = at_every_step([&] { make("a"); }, [&] { catalogue().remove("a"); },
                                   [&] {
                                     if (!tags().empty()) whole("a", "content of a");
                                   });
  EXPECT_GE(deaths, 3);
  EXPECT_THAT(tags(), IsEmpty());
}

TEST_F(CrashTest, ADeadMakersDraftIsShownAndSwept) {
  in_child([&] {
    Draft draft = catalogue().begin("a");
    _exit(0);
    return 0;
  });
  const auto all = catalogue().list();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].state, State::kIncomplete);
  EXPECT_THAT(all[0].reason, HasSubstr("left over"));
  EXPECT_EQ(catalogue().sweep().size(), 1u);
  EXPECT_THAT(tags(), IsEmpty());
}

}  // namespace
}  // namespace ebb::snapshot
