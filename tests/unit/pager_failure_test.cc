// Tests of what the pager does when the device fails or is full: what is lost, what is tried again, what is kept.
#include <cerrno>
#include <cstring>

#include "pager_on_tiers.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;

class PagerFailureTest : public PagerOnTiers {};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerFailureTest, kAllTiers, tier_name);

TEST_P(PagerFailureTest, ACorruptPageIsPoisonedAndNoOther) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  for (const uint64_t bad : {7, 1000}) {
    const SlotPlace place = w.store.place(w.extent(page(a, bad)), page(a, bad).page_in_extent());
    w.k.files.corrupt(place.fd, place.offset + 123);
  }
  for (uint64_t i = 0; i < 4096; ++i) {
    if (i == 7 || i == 1000) {
      EXPECT_EQ(w.touch(page(a, i), false), Touch::kBus) << i;
    } else {
      w.expect(page(a, i), 1 + i);
    }
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 2u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "is lost"), nullptr) << w.control->message[0].text;
  EXPECT_EQ(w.touch(page(a, 7), true), Touch::kBus) << "for good";
  for (int n = 0; n < 3; ++n) w.squeeze({640});
  EXPECT_EQ(w.touch(page(a, 7), false), Touch::kBus);
}

TEST_P(PagerFailureTest, ABadPageThatWasReadAheadByStepsIsLostOnlyWhenItIsAskedFor) {
  const AddressRange a = w.add({12000});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const Address bad = page(a, 40 * 20);
  const SlotPlace place = w.store.place(w.extent(bad), bad.page_in_extent());
  w.k.files.corrupt(place.fd, place.offset + 100);
  w.strict = false;
  for (uint64_t i = 0; i < 12000; i += 40)
    if (page(a, i) != bad) w.expect(page(a, i), 1 + i);
  EXPECT_EQ(w.counters().bad_pages.load(), 0u);
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
}

// It is read with all that follows, and alone, since its neighbour is home.
TEST_P(PagerFailureTest, ABadPageAtTheHeadOfAWalkIsLostAndNotReadForEver) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const uint64_t first = 4 * 512;
  const Address bad = page(a, first);
  const SlotPlace place = w.store.place(w.extent(bad), 0);
  w.expect(page(a, first + 300), 1 + first + 300);  // no huge page can come
  w.k.files.corrupt(place.fd, place.offset + 100);
  w.strict = false;
  for (uint64_t i = 0; i < 4096; ++i)
    if (page(a, i) != bad)
      w.expect(page(a, i), 1 + i);
    else
      EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
}

TEST_P(PagerFailureTest, AFullStoreKeepsPagesInDramUntilThereIsSpace) {
  w.k.files.set_capacity(Bytes{kExtentSize});
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_GT(w.most_over, to_bytes({1000}).count);
  EXPECT_NE(std::strstr(w.control->message[0].text, "ENOSPC"), nullptr) << w.control->message[0].text;
  w.expect_all(a, 1);
  w.k.files.set_capacity(Bytes{64 * kExtentSize});
  for (int n = 0; n < 40; ++n) {
    w.k.clock.advance(2'000'000'000);
    w.quiet();
  }
  EXPECT_LE(w.k.pages.resident(a), Pages{2048}) << "the budget is kept again";
  w.expect_all(a, 1);
}

TEST_P(PagerFailureTest, WithoutRoomAndWithoutAnythingToEvictTheBudgetGivesWay) {
  const AddressRange a = w.add({2048}), b = w.add({512});
  w.lock(a, true);
  w.lock(b, true);
  w.write_all(a, 1);
  EXPECT_LE(w.charged(), 2048u);
  EXPECT_EQ(w.most_over, 0u);
  w.write_all(b, 5000);
  EXPECT_GT(w.most_over, 0u);
  w.unlock(a);
  w.unlock(b);
  w.expect_all(a, 1);
  w.expect_all(b, 5000);
  w.quiet();
  EXPECT_LE(w.k.pages.resident(a).count + w.k.pages.resident(b).count, 2048u);
}

// What only a tier that is read and written by calls can show.
class PagerCallsTest : public PagerOnTiers {};

TEST_P(PagerCallsTest, APageThatCannotBeReadIsLostAndNoOther) {
  const AddressRange a = w.add({4096});
  w.write_all(a, 1);
  ASSERT_TRUE(evict(a));
  const Address bad = page(a, 1700);
  const SlotPlace place = w.store.place(w.extent(bad), bad.page_in_extent());
  // A file that was cut short at this page: every call that reaches it fails.
  w.k.files.call_script = [&](bool write, int fd, uint64_t offset) {
    return !write && fd == place.fd && offset == place.offset ? Errno{EIO} : Errno{};
  };
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  w.k.files.call_script = nullptr;
  w.expect_all({a.begin, bad}, 1);
  w.expect_all({bad + kPageSize, a.end}, 1702);
}

TEST_P(PagerCallsTest, AFailedWriteKeepsThePage) {
  const AddressRange a = w.add({2048});
  w.write_all(a, 1);
  w.k.files.call_script = [](bool write, int, uint64_t) { return write ? Errno{ENOSPC} : Errno{}; };
  w.strict = false;
  w.squeeze({640});
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "ENOSPC"), nullptr) << w.control->message[0].text;
  w.k.files.call_script = nullptr;
  w.expect_all(a, 1);
  for (int n = 0; n < 16; ++n) {  // what could not leave is passed over for a while
    w.k.clock.advance(1'000'000'000);
    w.squeeze({640});
  }
  ASSERT_TRUE(evict(a));
  w.expect_all(a, 1);
}

INSTANTIATE_TEST_SUITE_P(Tiers, PagerCallsTest, testing::Values(Tier::kCalls), [](const auto&) { return "calls"; });

// What only a device with transfers under way can show.
class PagerDiskTest : public PagerOnTiers {
 protected:
  void SetUp() override {
    a = w.add({4096});
    w.write_all(a, 1);
    lonely = w.add({1024});
    w.write(page(lonely, 300), 300);
    ASSERT_TRUE(evict(a));
    ASSERT_TRUE(evict(lonely));
  }
  // The next reads of page `i` fail, `times` of them; how many there were is in `reads`.
  void fail_reads(Address target, int times, int result = -EIO) {
    const SlotPlace place = w.store.place(w.extent(target), target.page_in_extent());
    w.k.io.script = [=, this](const IoRequest& r) {
      const bool hit = !r.write && r.fd == place.fd && r.offset <= place.offset && place.offset < r.offset + r.bytes;
      return hit && reads++ < times ? result : 0;
    };
  }
  AddressRange a, lonely;
  int reads = 0;
};

INSTANTIATE_TEST_SUITE_P(Tiers, PagerDiskTest, testing::Values(Tier::kDisk), [](const auto&) { return "disk"; });

TEST_P(PagerDiskTest, AReadThatFailsOnceIsMadeAgain) {
  for (const int result : {-EIO, 100}) {
    reads = 0;
    fail_reads(page(lonely, 300), 1, result);
    w.expect(page(lonely, 300), 300);
    EXPECT_EQ(reads, 2);
    fail_reads(page(a, 1000), 1, result);
    w.expect(page(a, 1000), 1001);
    ASSERT_TRUE(evict(a));
    ASSERT_TRUE(evict(lonely));
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 0u);
}

TEST_P(PagerDiskTest, APageThatCannotBeReadIsLostAfterTwoTries) {
  fail_reads(page(lonely, 300), 1000);
  EXPECT_EQ(w.touch(page(lonely, 300), false), Touch::kBus);
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  EXPECT_GT(w.counters().read_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  w.k.io.script = nullptr;
  w.expect_all(a, 1);
}

TEST_P(PagerDiskTest, ALargeReadThatFailsLosesOnlyThePageThatIsWaitedFor) {
  // A walk, so that what is asked for is large.
  w.expect_all(part(a, 0, 20), 1);
  ASSERT_TRUE(evict(a));
  for (uint64_t i = 512; i < 520; ++i) w.expect(page(a, i), 1 + i);
  Address bad = page(a, 2060);
  ASSERT_TRUE(w.extent(bad).cold().full());
  fail_reads(bad, 1000);
  for (uint64_t i = 520; i < 4096; ++i) {
    if (page(a, i) != bad) w.expect(page(a, i), 1 + i);
  }
  EXPECT_EQ(w.counters().bad_pages.load(), 0u) << "nobody asked for it";
  EXPECT_EQ(w.touch(bad, false), Touch::kBus);
  EXPECT_EQ(w.counters().bad_pages.load(), 1u);
  w.k.io.script = nullptr;
  w.expect_all({a.begin, bad}, 1);
  w.expect_all({bad + kPageSize, a.end}, 2062);
}

TEST_P(PagerDiskTest, AFailedWriteKeepsThePageAndIsMadeAgainLater) {
  w.k.io.script = [](const IoRequest& r) { return r.write ? -EIO : 0; };
  w.write_all(part(a, 0, 1024), 7000);
  w.squeeze({640});
  EXPECT_GT(w.counters().write_errors.load(), 0u);
  EXPECT_NE(std::strstr(w.control->message[0].text, "EIO"), nullptr) << w.control->message[0].text;
  EXPECT_EQ(w.k.pages.resident(part(a, 0, 1024)), Pages{1024});
  const unsigned said = w.control->messages.load();
  w.k.io.script = nullptr;
  ASSERT_TRUE(evict(a));
  EXPECT_EQ(w.control->messages.load(), said);
  w.expect_all(part(a, 0, 1024), 7000);
}

TEST_P(PagerDiskTest, HooksWaitForWhatIsUnderWay) {
  w.k.io.order = FakeIo::Order::kHeld;
  EXPECT_EQ(w.k.pages.touch(page(a, 600), false), Touch::kFault);
  w.step();
  ASSERT_TRUE(w.extent(page(a, 600)).wanted.test(600 - 512));
  EXPECT_FALSE(w.pager.settled(part(a, 512, 10)));
  EXPECT_TRUE(w.pager.settled(part(a, 1024, 512)));
  EXPECT_FALSE(w.pager.drained());
  w.pager.freeze(a);
  for (const IoRequest& r : w.k.io.flying()) w.k.io.complete(r.tag);
  w.step();
  EXPECT_TRUE(w.pager.settled(a));
  EXPECT_FALSE(w.k.pages.waits(1)) << "what had begun is brought to its end";
  w.k.pages.touch(page(a, 3000), false, 2);
  w.step();
  EXPECT_TRUE(w.pager.settled(a)) << "nothing new begins";
  w.pager.thaw(a);
  w.k.io.order = FakeIo::Order::kInOrder;
  w.forget(part(a, 600, 1));
  w.expect(page(a, 600), 0);
  w.expect(page(a, 3000), 3001);
  EXPECT_FALSE(w.k.pages.waits(2));
}

TEST_P(PagerDiskTest, APageThatIsTouchedWhileItIsWrittenIsTakenBack) {
  w.write_all(part(a, 0, 1024), 7000);
  w.k.io.order = FakeIo::Order::kHeld;
  w.strict = false;
  w.control->budget.store(to_bytes({1000}).count);
  for (int n = 0; n < 40; ++n) w.step(1'000'000);
  Address leaving{};
  w.table.for_each(part(a, 0, 1024), [&](Extent& e) {
    if (e.writing.any()) leaving = e.page(e.writing.next(0));
  });
  ASSERT_NE(leaving.value, 0u);
  // Without room it waits for the write to end, and need not be read again.
  ASSERT_EQ(w.k.pages.touch(leaving, true), Touch::kFault);
  w.step();
  ASSERT_NE(w.k.pages.touch(leaving, true), Touch::kDone);
  w.k.io.order = FakeIo::Order::kInOrder;
  for (int n = 0; n < 20 && w.k.pages.touch(leaving, true) != Touch::kDone; ++n) {
    EXPECT_FALSE(w.extent(leaving).loading.test(leaving.page_in_extent()));
    w.step();
  }
  w.write(leaving, 9999);
  w.quiet();
  w.expect(leaving, 9999);
  ASSERT_TRUE(evict(a));
  w.expect(leaving, 9999);
}

}  // namespace
}  // namespace ebb
