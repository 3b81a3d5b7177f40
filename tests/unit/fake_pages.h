// FakePages: a simulated address space behind the PageOps contract, for tests of everything above os/.
//
// Tests play the program: map(), touch(), contents(). The code under test sees PageOps only. What the kernel would do
// is done exactly (os_linux_pages_test.cc checks the same statements against the real one); what must not happen, such
// as the pager touching the program's memory at its own address, ends the test: addresses are real, and only present
// pages of limbo ranges can be read or written through them. Addresses are never given out twice.
#pragma once

#include <csignal>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "os/kernel.h"

namespace ebb {

class FakePages final : public PageOps {
 public:
  enum class Op { kArm, kArmLimbo, kDisarm, kMove, kCopy, kProtect, kPoison, kPopulate, kMapFile };
  enum class Touch { kDone, kFault, kWaiting, kSegv, kBus };
  enum class Access : uint8_t { kNone, kRead, kReadWrite };

  // `space` is the most that all mappings together can have.
  explicit FakePages(Bytes space = {uint64_t{1} << 31});
  ~FakePages();
  FakePages(const FakePages&) = delete;
  FakePages& operator=(const FakePages&) = delete;

  // Asked before each operation takes effect on a page (moves: the source page); an error stops the operation there,
  // for copy and move with the pages before it done, for others with nothing done.
  std::function<Errno(Op, Address page)> script;
  // Whether a missing page of limbo becomes present when the runtime touches it, as the kernel does it. Off by default:
  // most of the runtime has no reason to touch what it has not charged, and dies here when it does.
  bool limbo_fills = false;
  // For may_be_held(): the program has an io_uring, say.
  bool held = false;
  // What a file holds, for map_file().
  std::function<const char*(int fd, uint64_t offset)> file_contents;

  // --- the program's side -------------------------------------------------------------------------------------------
  // A new private anonymous mapping, read-write, aligned to extents, nothing present.
  AddressRange map(Bytes bytes);
  void unmap(AddressRange range);
  void set_access(AddressRange range, Access access);
  void set_locked(AddressRange range, bool on);
  // kFault: a Fault was queued and the thread waits. kWaiting: it still does, from before. kDone: the access took
  // place.
  Touch touch(Address a, bool write, uint32_t thread = 1);
  bool waits(uint32_t thread) const { return waiting_.count(thread) != 0; }
  // The page's 4096 bytes; null when it is not present. Not an access: no fault, no copy on write.
  char* contents(Address page);
  bool is_present(Address page) const { return state(page).present; }
  bool is_write_protected(Address page) const { return state(page).write_protected; }
  bool is_poisoned(Address page) const { return state(page).poisoned; }
  // Pages that are; of all mappings.
  unsigned poisoned() const { return poisoned_; }
  bool is_simulated(Address a) const { return simulated(a); }
  // A long-term pin by someone else (RDMA, a registered buffer).
  void pin(Address page, bool on);
  // Shared with a child after a fork, until written.
  void share(AddressRange range);
  // The child is gone, or has copies of its own.
  void end_sharing(AddressRange range);
  // mremap(2) to a new place: the pages go along, the registration does not, and nobody is woken.
  AddressRange remap(AddressRange from);
  // Present pages of `range`; of all mappings.
  Pages resident(AddressRange range) const;
  Pages resident() const { return resident({base_, next_}); }
  unsigned unread_faults() const { return static_cast<unsigned>(unread_.size()); }

  // --- the device's side --------------------------------------------------------------------------------------------
  // Holds the pages under [buffer, buffer + bytes) for a transfer, as the kernel does: missing limbo pages become
  // present. Returns where the bytes really are. Buffers outside of the simulation are returned as they are.
  char* begin_transfer(void* buffer, uint64_t bytes);
  void end_transfer(void* buffer, uint64_t bytes);

  // --- PageOps ------------------------------------------------------------------------------------------------------
  Result<void> arm(AddressRange range) override;
  Result<void> arm_limbo(AddressRange range) override;
  void inherit(AddressRange, bool) override {}  // children are not simulated
  Result<void> disarm(AddressRange range) override;
  Progress move(Address to, Address from, Bytes bytes) override;
  Progress copy(Address to, const void* from, Bytes bytes) override;
  void wake(AddressRange range) override;
  Result<void> protect(AddressRange range, bool on) override;
  Result<void> poison(AddressRange range) override;
  bool may_be_held() override { return held; }
  void peek(void* to, Address from, Bytes bytes) override;
  void unshare(AddressRange range) override;
  void discard(AddressRange range) override;
  bool populate(AddressRange range) override;
  PageSet present(Address extent, bool* huge) override;
  Errno map_file(AddressRange range, int fd, uint64_t offset) override;
  void keep_replaced(Bytes) override {}  // freed at once
  void free_replaced() override {}
  Errno map_empty(AddressRange range) override;
  unsigned owned(AddressRange range, AddressRange* out, unsigned max) override;
  PageSet exclusive(Address extent) override;
  unsigned read_faults(Fault* out, unsigned max) override;

 private:
  enum class Armed : uint8_t { kNo, kYes, kLimbo };
  // What makes pages parts of one mapping in the kernel's eyes.
  struct Mapping {
    bool mapped = false, locked = false;
    Access access = Access::kReadWrite;
    Armed armed = Armed::kNo;
    bool operator==(const Mapping&) const = default;
  };
  struct Page {
    Mapping mapping;
    bool present = false, write_protected = false, shared = false, poisoned = false, pinned = false;
    bool of_file = false;  // and not written since it was mapped
    bool shown = false;    // can be accessed at its real address
    uint16_t transfers = 0;
  };

  bool simulated(Address a) const { return a >= base_ && a < base_ + space_.count; }
  const Page& state(Address a) const { return pages_[(a - base_) >> kPageShift]; }
  Page& state(Address a) { return pages_[(a - base_) >> kPageShift]; }
  char* bytes_at(Address a) const { return alias_ + (a - base_); }
  bool one_mapping(AddressRange range) const;
  // A missing page of limbo was touched in the test process itself. False when that may not be.
  bool fill(Address page);
  static void on_segv(int signal, siginfo_t* info, void* context);
  Errno asked(Op op, AddressRange range) const;
  Errno asked_page(Op op, Address page) const { return script ? script(op, page) : Errno{}; }
  Result<void> set_armed(Op op, AddressRange range, Armed armed);
  Errno move_page(Address to, Address from);
  void set_present(Address page, bool on);
  void heal(Address page);
  void make_present(Address page);
  void drop(Address page);
  // Opens or shuts the real pages of `range` according to their state.
  void show(AddressRange range);

  Bytes space_;
  Address base_{}, next_{};
  char* alias_ = nullptr;  // the same memory, always accessible, for the simulation itself
  std::vector<Page> pages_;
  std::vector<bool> huge_;
  std::vector<PageSet> present_;  // by extent; the same as Page::present
  unsigned poisoned_ = 0;
  std::deque<Fault> unread_;
  std::map<uint32_t, Address> waiting_;  // thread, page
};

}  // namespace ebb
