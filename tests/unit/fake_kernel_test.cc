// Tests of the fakes: they do what os_linux_pages_test.cc and os_uring_queue_test.cc show the real ones to do, and they
// stop a test that would go wrong on a real machine.
#include "fake_kernel.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <vector>

namespace ebb {
namespace {

using Touch = FakePages::Touch;

class FakeKernelTest : public testing::Test {
 protected:
  Address page(size_t i) const { return m_.begin + i * kPageSize; }
  Address slot(size_t i) const { return limbo_.begin + i * kPageSize; }
  AddressRange one(Address a) const { return range_at(a, kPageSize); }
  void write(size_t i, char value) {
    ASSERT_EQ(k_.pages.touch(page(i), true), Touch::kDone);
    *k_.pages.contents(page(i)) = value;
  }
  void arm() {
    ASSERT_TRUE(k_.pages.arm(m_).ok());
    ASSERT_TRUE(k_.pages.arm_limbo(limbo_).ok());
  }
  PageSet present(AddressRange r) { return k_.pages.present(r.begin, nullptr); }
  std::vector<uint64_t> reap() {
    IoCompletion done[64];
    std::vector<uint64_t> tags;
    const unsigned n = k_.io.reap(done, 64);
    for (unsigned i = 0; i < n; ++i) tags.push_back(done[i].tag);
    return tags;
  }

  FakeKernel k_;
  AddressRange m_ = k_.pages.map(Bytes{kExtentSize});
  AddressRange limbo_ = k_.pages.map(Bytes{2 * kExtentSize});
  std::vector<char> data_ = std::vector<char>(8 * kPageSize, 'n');
};

TEST_F(FakeKernelTest, UnarmedMemoryIsPlainMemory) {
  EXPECT_EQ(k_.pages.touch(page(3), false), Touch::kDone);
  EXPECT_EQ(*k_.pages.contents(page(3)), 0);
  EXPECT_EQ(present(m_), PageSet::of({3, 1}));
  EXPECT_EQ(k_.pages.touch(m_.end, false), Touch::kSegv);
  k_.pages.set_access(one(page(3)), FakePages::Access::kRead);
  EXPECT_EQ(k_.pages.touch(page(3), true), Touch::kSegv);
  EXPECT_EQ(k_.pages.touch(page(3), false), Touch::kDone);
  k_.pages.unmap(m_);
  EXPECT_EQ(k_.pages.touch(page(3), false), Touch::kSegv);
  EXPECT_EQ(k_.pages.resident(), Pages{});
}

TEST_F(FakeKernelTest, AFaultWaitsUntilItIsAnswered) {
  arm();
  EXPECT_EQ(k_.pages.touch(page(3) + 17, true, 9), Touch::kFault);
  EXPECT_EQ(k_.pages.touch(page(3), true, 9), Touch::kWaiting);
  Fault f[4];
  ASSERT_EQ(k_.pages.read_faults(f, 4), 1u);
  EXPECT_EQ(f[0].address, page(3));
  EXPECT_EQ(f[0].thread, 9u);
  EXPECT_TRUE(f[0].write);
  EXPECT_EQ(k_.pages.read_faults(f, 4), 0u);
  EXPECT_TRUE(k_.pages.waits(9));
  EXPECT_EQ(k_.pages.copy(page(3), data_.data(), Bytes{kPageSize}).done.count, kPageSize);
  EXPECT_FALSE(k_.pages.waits(9));
  EXPECT_EQ(k_.pages.touch(page(3), true, 9), Touch::kDone);
  EXPECT_EQ(*k_.pages.contents(page(3)), 'n');
}

TEST_F(FakeKernelTest, AWakeTakesAlongFaultsThatWereNotRead) {
  arm();
  EXPECT_EQ(k_.pages.touch(page(1), false, 1), Touch::kFault);
  EXPECT_EQ(k_.pages.touch(page(2), false, 2), Touch::kFault);
  k_.pages.wake(one(page(1)));
  Fault f[4];
  ASSERT_EQ(k_.pages.read_faults(f, 4), 1u);
  EXPECT_EQ(f[0].address, page(2));
  EXPECT_EQ(k_.pages.touch(page(1), false, 1), Touch::kFault) << "looks again";
}

TEST_F(FakeKernelTest, CopyStopsAtPresentPagesAndOutsideArmedRanges) {
  EXPECT_EQ(k_.pages.copy(page(0), data_.data(), Bytes{kPageSize}).error, Errno{ENOENT});
  write(2, 'o');
  arm();
  const Progress p = k_.pages.copy(page(0), data_.data(), Bytes{8 * kPageSize});
  EXPECT_EQ(p.done.count, 2 * kPageSize);
  EXPECT_EQ(p.error, Errno{EEXIST});
  EXPECT_EQ(*k_.pages.contents(page(2)), 'o');
}

TEST_F(FakeKernelTest, MoveTakesPagesAlongSkipsHolesAndWakes) {
  for (size_t i : {0u, 1u, 5u}) write(i, static_cast<char>('a' + i));
  arm();
  const Progress p = k_.pages.move(slot(0), page(0), Bytes{8 * kPageSize});
  EXPECT_EQ(p.done.count, 8 * kPageSize);
  EXPECT_FALSE(p.error);
  EXPECT_TRUE(present(m_).none());
  EXPECT_EQ(present(limbo_).count(), 3u);
  EXPECT_EQ(*slot(5).pointer<char>(), 'f') << "the runtime reads limbo at its own address";
  EXPECT_EQ(k_.pages.touch(page(5), false), Touch::kFault);
  EXPECT_FALSE(k_.pages.move(page(5), slot(5), Bytes{kPageSize}).error);
  EXPECT_FALSE(k_.pages.waits(1));
  EXPECT_EQ(*k_.pages.contents(page(5)), 'f');
}

TEST_F(FakeKernelTest, MoveStopsWhereTheKernelStops) {
  for (size_t i = 0; i < 8; ++i) write(i, 'x');
  arm();
  k_.pages.pin(page(2), true);
  Progress p = k_.pages.move(slot(0), page(0), Bytes{8 * kPageSize});
  EXPECT_EQ(p.done.count, 2 * kPageSize);
  EXPECT_EQ(p.error, Errno{EBUSY});
  k_.pages.share(range_at(page(4), kPageSize));
  p = k_.pages.move(slot(3), page(3), Bytes{5 * kPageSize});
  EXPECT_EQ(p.done.count, kPageSize);
  EXPECT_EQ(p.error, Errno{EBUSY});
  k_.pages.unshare(one(page(4)));
  EXPECT_FALSE(k_.pages.move(slot(4), page(4), Bytes{kPageSize}).error);
  ASSERT_TRUE(k_.pages.populate(one(slot(6))));
  p = k_.pages.move(slot(5), page(5), Bytes{3 * kPageSize});
  EXPECT_EQ(p.done.count, kPageSize);
  EXPECT_EQ(p.error, Errno{EEXIST});
}

TEST_F(FakeKernelTest, MoveNeedsARegisteredTargetOfTheSameKind) {
  write(0, 'x');
  EXPECT_EQ(k_.pages.move(slot(0), page(0), Bytes{kPageSize}).error, Errno{EINVAL});
  arm();
  k_.pages.set_access(one(page(0)), FakePages::Access::kRead);
  EXPECT_EQ(k_.pages.move(slot(0), page(0), Bytes{kPageSize}).error, Errno{EINVAL});
  EXPECT_EQ(k_.pages.move(slot(0), page(0), Bytes{2 * kPageSize}).error, Errno{EINVAL}) << "two mappings";
  k_.pages.set_access(one(page(0)), FakePages::Access::kReadWrite);
  k_.pages.set_locked(one(page(0)), true);
  EXPECT_EQ(k_.pages.move(slot(0), page(0), Bytes{kPageSize}).error, Errno{EINVAL});
  k_.pages.set_locked(one(page(0)), false);
  EXPECT_FALSE(k_.pages.move(slot(0), page(0), Bytes{kPageSize}).error);
}

TEST_F(FakeKernelTest, ProtectDisarmDiscardPoison) {
  write(0, 'r');
  arm();
  ASSERT_TRUE(k_.pages.protect(one(page(0)), true).ok());
  EXPECT_EQ(k_.pages.touch(page(0), false), Touch::kDone);
  EXPECT_EQ(k_.pages.touch(page(0), true), Touch::kFault);
  Fault f;
  ASSERT_EQ(k_.pages.read_faults(&f, 1), 1u);
  EXPECT_TRUE(f.write_protect);
  ASSERT_TRUE(k_.pages.protect(one(page(0)), false).ok());
  EXPECT_EQ(k_.pages.touch(page(0), true), Touch::kDone);

  k_.pages.discard(one(page(0)));
  EXPECT_EQ(k_.pages.touch(page(0), false), Touch::kFault);
  ASSERT_TRUE(k_.pages.poison(one(page(0))).ok());
  EXPECT_EQ(k_.pages.touch(page(0), false), Touch::kBus);
  EXPECT_EQ(k_.pages.poison(one(page(0))).error(), Errno{EEXIST});
  EXPECT_FALSE(k_.pages.copy(page(0), data_.data(), Bytes{kPageSize}).error);
  EXPECT_EQ(k_.pages.touch(page(0), false), Touch::kDone);

  EXPECT_EQ(k_.pages.touch(page(9), false), Touch::kFault);
  ASSERT_TRUE(k_.pages.disarm(m_).ok());
  EXPECT_EQ(k_.pages.touch(page(9), false), Touch::kDone);
  EXPECT_EQ(*k_.pages.contents(page(9)), 0);
}

TEST_F(FakeKernelTest, HugePagesLastUntilTheyAreBroken) {
  arm();
  bool huge = false;
  ASSERT_TRUE(k_.pages.populate(range_at(slot(0), kExtentSize)));
  EXPECT_TRUE(k_.pages.present(limbo_.begin, &huge).full());
  EXPECT_TRUE(huge);
  EXPECT_FALSE(k_.pages.move(page(0), slot(0), Bytes{kExtentSize}).error);
  EXPECT_TRUE(k_.pages.present(m_.begin, &huge).full());
  EXPECT_TRUE(huge);
  k_.pages.discard(one(page(7)));
  EXPECT_EQ(k_.pages.present(m_.begin, &huge).count(), 511u);
  EXPECT_FALSE(huge);
}

TEST_F(FakeKernelTest, ScriptedFailuresStopWhereTheyAreAsked) {
  arm();
  k_.pages.script = [&](FakePages::Op op, Address a) {
    return op == FakePages::Op::kCopy && a == page(3) ? Errno{ENOMEM} : Errno{};
  };
  const Progress p = k_.pages.copy(page(0), data_.data(), Bytes{8 * kPageSize});
  EXPECT_EQ(p.done.count, 3 * kPageSize);
  EXPECT_EQ(p.error, Errno{ENOMEM});
  k_.pages.script = [](FakePages::Op, Address) { return Errno{ENOMEM}; };
  EXPECT_EQ(k_.pages.arm(m_).error(), Errno{ENOMEM});
  EXPECT_FALSE(k_.pages.populate(one(slot(0))));
  EXPECT_FALSE(k_.pages.is_present(slot(0)));
}

TEST_F(FakeKernelTest, WhatWouldHangOrCrashIsAFailure) {
  arm();
  EXPECT_NONFATAL_FAILURE(k_.pages.populate(one(page(0))), "wait for the pager itself");
  EXPECT_NONFATAL_FAILURE(k_.pages.unshare(one(page(1))), "fault in the runtime");
  EXPECT_NONFATAL_FAILURE(k_.pages.copy(page(2), slot(9).pointer(), Bytes{kPageSize}), "missing page");
  k_.io.submit({1, false, page(4).pointer(), 4096, 0, 1});
  EXPECT_NONFATAL_FAILURE(k_.io.flush(), "wait for the pager itself");
}

TEST_F(FakeKernelTest, ProgramMemoryIsOutOfTheRuntimesReach) {
  write(0, 'x');
  arm();
  EXPECT_DEATH(*page(0).pointer<volatile char>() = 'y', "");
  EXPECT_DEATH(*slot(0).pointer<volatile char>() = 'y', "") << "missing, so not charged";
}

TEST_F(FakeKernelTest, TransfersTakeTheirDataWhenTheyCompleteAndHoldTheirPages) {
  arm();
  const int fd = k_.files.create().value();
  ASSERT_TRUE(k_.pages.populate(range_at(slot(0), 4 * kPageSize)));
  char* buffer = slot(0).pointer<char>();
  std::memset(buffer, 'a', 4 * kPageSize);
  ASSERT_TRUE(k_.io.submit({fd, true, buffer, 4 * kPageSize, 0, 7}));
  EXPECT_TRUE(reap().empty()) << "not handed over yet";
  k_.io.order = FakeIo::Order::kHeld;
  k_.io.flush();
  EXPECT_TRUE(reap().empty());
  EXPECT_EQ(k_.pages.move(page(0), slot(0), Bytes{kPageSize}).error, Errno{EBUSY});
  EXPECT_NONFATAL_FAILURE(k_.pages.discard(one(slot(3))), "transfer under way");
  buffer[0] = 'b';
  EXPECT_TRUE(k_.io.complete(7));
  EXPECT_FALSE(k_.io.complete(7));
  EXPECT_EQ(reap(), std::vector<uint64_t>{7});
  EXPECT_EQ(*k_.files.stored(fd, 0), 'b');
  EXPECT_FALSE(k_.pages.move(page(0), slot(0), Bytes{kPageSize}).error);

  k_.io.order = FakeIo::Order::kInOrder;
  ASSERT_TRUE(k_.io.submit({fd, false, slot(600).pointer(), 2 * kPageSize, 0, 8}));
  k_.io.wait_one();
  EXPECT_EQ(reap(), std::vector<uint64_t>{8});
  EXPECT_EQ(*slot(600).pointer<char>(), 'b') << "a read makes missing limbo pages present";
  EXPECT_EQ(k_.io.in_flight(), 0u);
  EXPECT_EQ(k_.io.transferred(true), 4 * kPageSize);
  EXPECT_EQ(k_.io.transferred(false), 2 * kPageSize);
}

TEST_F(FakeKernelTest, TransfersFailAsScriptedAndEndWithTheFile) {
  const int fd = k_.files.create().value();
  std::vector<char> buffer(3 * kPageSize);
  const auto one_result = [&](const IoRequest& r) {
    EXPECT_TRUE(k_.io.submit(r));
    k_.io.wait_one();
    IoCompletion c;
    EXPECT_EQ(k_.io.reap(&c, 1), 1u);
    return c.result;
  };
  const IoRequest write = {fd, true, buffer.data(), 2 * kPageSize, 0, 1};
  const IoRequest read = {fd, false, buffer.data(), 3 * kPageSize, 0, 2};
  EXPECT_EQ(one_result(write), 8192);
  EXPECT_EQ(one_result(read), 8192) << "short at the end of the file";
  k_.io.script = [](const IoRequest& r) { return r.write ? -EIO : 4096; };
  EXPECT_EQ(one_result(write), -EIO);
  EXPECT_EQ(one_result(read), 4096);
  k_.io.script = nullptr;
  k_.files.close(fd);
  EXPECT_EQ(one_result(read), -EBADF);
}

TEST_F(FakeKernelTest, RandomOrderCompletesEverythingExactlyOnce) {
  const int fd = k_.files.create().value();
  k_.io.order = FakeIo::Order::kRandom;
  std::vector<uint64_t> sent(128), seen;
  std::iota(sent.begin(), sent.end(), 0);
  for (uint64_t tag : sent) ASSERT_TRUE(k_.io.submit({fd, true, data_.data(), 4096, tag * 4096, tag}));
  EXPECT_FALSE(k_.io.submit({fd, true, data_.data(), 4096, 0, 999})) << "full";
  while (k_.io.in_flight()) {
    k_.io.wait_one();
    for (uint64_t tag : reap()) seen.push_back(tag);
  }
  EXPECT_NE(seen, sent);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, sent);
}

TEST_F(FakeKernelTest, SpaceRunsOutAndComesBack) {
  k_.files.set_capacity(Bytes{4 * kPageSize});
  const int a = k_.files.create().value(), b = k_.files.create().value();
  EXPECT_FALSE(k_.files.reserve(a, 0, 3 * kPageSize));
  EXPECT_FALSE(k_.files.reserve(a, kPageSize, 2 * kPageSize)) << "the same again costs nothing";
  EXPECT_EQ(k_.files.reserve(b, 0, 2 * kPageSize), Errno{ENOSPC});
  EXPECT_EQ(k_.files.used(), Bytes{3 * kPageSize});
  ASSERT_TRUE(k_.io.submit({b, true, data_.data(), 2 * kPageSize, 0, 1}));
  k_.io.wait_one();
  IoCompletion c;
  ASSERT_EQ(k_.io.reap(&c, 1), 1u);
  EXPECT_EQ(c.result, -ENOSPC);
  k_.files.punch(a, 0, 2 * kPageSize);
  EXPECT_FALSE(k_.files.reserve(b, 0, 2 * kPageSize));
  k_.files.close(a);
  k_.files.close(b);
  EXPECT_EQ(k_.files.used(), Bytes{});
  EXPECT_EQ(k_.files.open_files(), 0u);
  EXPECT_EQ(k_.files.reserve(a, 0, 1), Errno{EBADF});
}

TEST_F(FakeKernelTest, ByteAddressableFilesAreMemory) {
  const int fd = k_.files.create().value();
  EXPECT_EQ(k_.files.map(fd), nullptr);
  k_.files.byte_addressable = true;
  char* mapping = k_.files.map(fd);
  ASSERT_NE(mapping, nullptr);
  k_.files.copy_out(mapping + kPageSize, data_.data(), kPageSize);
  EXPECT_EQ(*k_.files.stored(fd, kPageSize), 'n');
  k_.files.corrupt(fd, kPageSize);
  EXPECT_NE(mapping[kPageSize], 'n');
  k_.files.unmap(mapping);
  EXPECT_NONFATAL_FAILURE(k_.files.unmap(mapping), "not mapped");
}

TEST_F(FakeKernelTest, TimeStandsStillUnlessMoved) {
  const uint64_t before = k_.clock.now_ns();
  EXPECT_EQ(k_.clock.now_ns(), before);
  k_.clock.advance(5);
  EXPECT_EQ(k_.clock.now_ns(), before + 5);
  k_.clock.tick = 10;
  EXPECT_EQ(k_.clock.now_ns(), before + 15);
}

}  // namespace
}  // namespace ebb
