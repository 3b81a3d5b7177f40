// The OS contract: everything the runtime asks of the kernel, in two narrow interfaces. Nothing above this layer makes
// a system call of its own. LinuxPages/UringQueue implement them; FakeKernel (tests) simulates them with scripted
// failures.
//
// Rules for implementers: no allocation from libc, no errno, no exceptions; every call may be made by the pager's
// thread, which has no libc state.
#pragma once

#include <cstdint>

#include "base/page_set.h"
#include "base/result.h"
#include "base/units.h"

namespace ebb {

// One fault of the program on an armed page, as the kernel reports it.
struct Fault {
  Address address;      // page-aligned
  uint32_t thread = 0;  // kernel thread id of the one that waits; 0 when unknown
  bool write = false;
  bool write_protect = false;  // the page is there, but write-protected by us
  uint16_t offset = 0;         // in the page, where the kernel tells; 0 before Linux 5.18
};

// How far a move or copy came, and what stopped it: everything before `done` is done.
struct Progress {
  Bytes done{};
  Errno error{};  // none when all of it is done
};

// Pages: userfaultfd and the few madvise calls beside it. Ranges are page-aligned.
class PageOps {
 public:
  // From now on a touch of a missing page of `range` is a Fault, and so is a write to a protected one. Children do not
  // inherit the range: one that was forked behind our back gets SIGSEGV there, never zeros.
  // Huge pages may be moved there from now on (without that advice every fault would leave a page table in their way).
  // The range must be anonymous, private and mapped. Errors: EBUSY (someone else's userfaultfd), EINVAL, ENOMEM.
  virtual Result<void> arm(AddressRange range) = 0;
  // Memory that only the runtime touches (limbo): a target of move(), never a source of faults.
  virtual Result<void> arm_limbo(AddressRange range) = 0;
  // Whether children inherit an armed range, until the next arm().
  virtual void inherit(AddressRange range, bool on) = 0;
  // Ends arm(); missing pages read as zeros from now on, waiting threads retry, children inherit.
  virtual Result<void> disarm(AddressRange range) = 0;

  // Moves page table entries: after it the pages are at `to` and missing at `from`. Holes in `from` are skipped.
  // Stops at a page that is pinned or shared with another process (EBUSY), or present at the target (EEXIST).
  // Wakes threads that wait for the target. No copy is made.
  virtual Progress move(Address to, Address from, Bytes bytes) = 0;
  // Fills missing pages at `to` with a copy of `from` and wakes who waits. Stops at a present page (EEXIST), at a
  // page that is not armed any more (ENOENT) or when memory runs out (ENOMEM).
  virtual Progress copy(Address to, const void* from, Bytes bytes) = 0;
  // Lets threads that wait in `range` try again.
  virtual void wake(AddressRange range) = 0;
  // Sets or lifts write protection of present pages; lifting wakes.
  virtual Result<void> protect(AddressRange range, bool on) = 0;
  // A touch of these missing pages raises SIGBUS from now on. EOPNOTSUPP on kernels before 6.6.
  virtual Result<void> poison(AddressRange range) = 0;

  // Whether anything of the process could write to a page that it held before the page was protected.
  virtual bool may_be_held() = 0;

  // Copies present pages without touching them through our own page table: the first touch of a page after a move
  // misses every cache of translations, and leaves the virtual machine where the hypervisor shadows page tables.
  virtual void peek(void* to, Address from, Bytes bytes) = 0;

  // Ends the sharing of present, writable pages with other processes (after a fork) by a write that changes nothing;
  // move() takes them then, unless they are pinned. Every page of `range` must be present.
  virtual void unshare(AddressRange range) = 0;

  // Drops the pages (and, where the kernel can, their empty page tables). Never waits for a fault.
  virtual void discard(AddressRange range) = 0;
  // Makes all pages of an unarmed or limbo range present, huge where the kernel can. False: no memory.
  virtual bool populate(AddressRange range) = 0;
  // Which pages of the extent at `extent` are present, and whether one huge page maps all of it.
  virtual PageSet present(Address extent, bool* huge) = 0;

  // For snapshots. Maps a file privately over `range`, to be read and written; what was there is gone, armed or not.
  virtual Errno map_file(AddressRange range, int fd, uint64_t offset) = 0;
  // To free memory takes long: up to `bytes` of what map_file() replaces from now on are only put out of sight, as far
  // as the kernel can, until free_replaced().
  virtual void keep_replaced(Bytes bytes) = 0;
  virtual void free_replaced() = 0;
  // Maps memory that is empty, and not armed, over `range`.
  virtual Errno map_empty(AddressRange range) = 0;
  // The first runs of pages in `range`, in order, that are this process's own: where a file is mapped, those that were
  // written since. How many; fewer than `max` when there are no more.
  virtual unsigned owned(AddressRange range, AddressRange* out, unsigned max) = 0;

  // Which present pages of the extent no other process has, as far as the kernel can tell without a doubt.
  virtual PageSet exclusive(Address extent) = 0;

  // Up to `max` faults that have not been read yet; 0 when there are none. Never waits.
  virtual unsigned read_faults(Fault* out, unsigned max) = 0;

 protected:
  ~PageOps() = default;
};

// One transfer between memory and a file. The buffer stays valid until the completion is reaped.
struct IoRequest {
  int fd = -1;
  bool write = false;
  void* buffer = nullptr;
  uint32_t bytes = 0;
  uint64_t offset = 0;
  uint64_t tag = 0;  // given back with the completion
};

struct IoCompletion {
  uint64_t tag = 0;
  int32_t result = 0;  // bytes transferred, or -errno; short transfers are completed by the queue, not the caller
};

// Asynchronous file I/O. Used by one thread at a time.
class IoQueue {
 public:
  // Takes the request, or returns false when the queue is full: reap and try again.
  virtual bool submit(const IoRequest& request) = 0;
  // Hands everything taken to the kernel.
  virtual void flush() = 0;
  // Up to `max` completions. Never waits.
  virtual unsigned reap(IoCompletion* out, unsigned max) = 0;
  // Waits until something can be reaped. Only when in_flight() > 0.
  virtual void wait_one() = 0;
  virtual unsigned in_flight() const = 0;

 protected:
  ~IoQueue() = default;
};

// Whether what is written stays in the page cache, too, and nobody waits for the device; a hint.
enum class Cache : bool { kPast, kThrough };

// The files of a tier. Each belongs to one store layer, is unlinked from birth and gone with its last descriptor.
class TierFiles {
 public:
  // A new empty file of mode 0600; the descriptor is protected. Errors: as open(2); EMFILE.
  virtual Result<int> create() = 0;
  // Makes sure that [offset, offset + bytes) can be written without running out of space. Errors: ENOSPC, EDQUOT,
  // EFBIG, EIO.
  virtual Errno reserve(int fd, uint64_t offset, uint64_t bytes) = 0;
  // Gives the space of [offset, offset + bytes) back; later reads there are not meaningful.
  virtual void punch(int fd, uint64_t offset, uint64_t bytes) = 0;
  // On persistent memory: the whole file in memory, shared. Null on block devices, in page caches (tmpfs), and without
  // address space for it.
  virtual char* map(int fd) = 0;
  virtual void unmap(char* mapping) = 0;
  // Copies into such a mapping, past the caches where the tier gains from it.
  virtual void copy_out(char* to, const char* from, uint64_t bytes) = 0;
  // All of it at once, by the thread itself. Errors: ENOSPC, EIO and their kin; EIO where the file ends too early.
  virtual Errno read(int fd, uint64_t offset, char* to, uint64_t bytes) = 0;
  // The same from the page cache alone: EAGAIN where it is not all there, and the device may have been asked for it
  // then.
  virtual Errno read_cached(int fd, uint64_t offset, char* to, uint64_t bytes) = 0;
  // Begins to read into the page cache what will be asked for by read() soon; a hint.
  virtual void read_ahead(int fd, uint64_t offset, uint64_t bytes) = 0;
  // kPast takes memory, offset and size aligned to pages.
  virtual Errno write(int fd, uint64_t offset, const char* from, uint64_t bytes, Cache cache) = 0;
  // Gives the file a name in `folder`, which tells it from all others there (that of a snapshot); returns it as a
  // number, the same one for every descriptor of the file. On another file system it is a copy that gets the name.
  // Errors: as link(2) and write(2).
  virtual Result<uint64_t> name(int fd, const char* folder) = 0;
  // What name() returns, without giving it one. Errors: as statx(2).
  virtual Result<uint64_t> identity(int fd) = 0;
  // Whether `folder` is on another file system than the file.
  virtual bool elsewhere(int fd, const char* folder) = 0;
  // Opens a file of name() to be read; `mapping`: to be mapped by map_file(). Protected. Errors: as open(2). It is read
  // through the page cache, which all who were restored from the file share.
  virtual Result<int> reopen(const char* folder, uint64_t name, bool mapping) = 0;
  // Closes a file of create() or reopen().
  virtual void close(int fd) = 0;

 protected:
  ~TierFiles() = default;
};

// Time for policies; monotonic.
class Clock {
 public:
  virtual uint64_t now_ns() = 0;

 protected:
  ~Clock() = default;
};

}  // namespace ebb
