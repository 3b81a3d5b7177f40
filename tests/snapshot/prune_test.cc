// What a policy removes, on lists made up.
#include "snapshot/prune.h"

#include "world.h"

namespace ebb::snapshot {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kDay = uint64_t{24} * 3600 * 1'000'000'000;

// One a day, a is 4 days old, e is made now; 10 bytes each.
std::vector<PruneCandidate> five() {
  std::vector<PruneCandidate> out;
  for (uint64_t i = 0; i < 5; ++i) {
    const std::string tag(1, static_cast<char>('a' + i));
    out.push_back({tag, "id-" + tag, "", (10 + i) * kDay, Bytes{10}, ""});
  }
  return out;
}

std::vector<std::string> removed(const std::vector<PruneCandidate>& all, const PrunePolicy& policy) {
  std::vector<std::string> out;
  for (const auto& d : plan_prune(all, policy, 14 * kDay)) {
    EXPECT_FALSE(d.reason.empty()) << d.tag;
    if (d.remove) out.push_back(d.tag);
  }
  return out;
}

TEST(PruneTest, EachRuleAlone) {
  EXPECT_THAT(removed(five(), {2, {}, {}}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(removed(five(), {0, {}, {}}), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(removed(five(), {{}, std::chrono::hours(48), {}}), ElementsAre("a", "b"));
  EXPECT_THAT(removed(five(), {{}, {}, Bytes{25}}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(removed(five(), {{}, {}, Bytes{50}}), IsEmpty());
}

TEST(PruneTest, KeepLastHoldsAgainstTheOthers) {
  EXPECT_THAT(removed(five(), {4, std::chrono::hours(48), {}}), ElementsAre("a"));
  EXPECT_THAT(removed(five(), {4, {}, Bytes{1}}), ElementsAre("a"));
  EXPECT_THAT(removed(five(), {1, std::chrono::hours(72), Bytes{20}}), ElementsAre("a", "b", "c"));
}

TEST(PruneTest, ParentsStayAsLongAsAChildStays) {
  auto all = five();
  all[1].parent_id = "id-a";
  all[4].parent_id = "id-b";
  EXPECT_THAT(removed(all, {{}, std::chrono::hours(24), {}}), ElementsAre("c"));
  EXPECT_THAT(removed(all, {{}, {}, Bytes{1}}), ElementsAre("e", "b", "a", "c", "d"));  // children first
  all[4].fixed = "in use";
  EXPECT_THAT(removed(all, {0, {}, {}}), ElementsAre("c", "d"));
  EXPECT_THAT(removed(all, {{}, {}, Bytes{1}}), ElementsAre("c", "d"));
}

TEST(PruneTest, AClockThatWentBackRemovesNothing) {
  auto all = five();
  for (auto& one : all) one.created_unix_ns += 100 * kDay;
  EXPECT_THAT(removed(all, {{}, std::chrono::hours(1), {}}), IsEmpty());
}

}  // namespace
}  // namespace ebb::snapshot
