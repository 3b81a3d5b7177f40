// PageOps on Linux: userfaultfd (MISSING, WP, MOVE: Linux 6.8), madvise and PAGEMAP_SCAN.
#pragma once

#include "os/fd.h"
#include "os/kernel.h"

namespace ebb {

class LinuxPages final : public PageOps {
 public:
  // Opens a userfaultfd that also sees faults from kernel mode (/dev/userfaultfd, else the system call) with all
  // features that the pager needs. Errors: ENOSYS or EINVAL (kernel too old), EPERM (no right), EMFILE.
  Result<void> open();
  // Closes everything. Armed ranges become plain memory: missing pages read as zeros.
  void close();
  int fault_fd() const { return uffd_.get(); }

  Result<void> arm(AddressRange range) override;
  Result<void> arm_limbo(AddressRange range) override;
  void inherit(AddressRange range, bool on) override;
  Result<void> disarm(AddressRange range) override;
  Progress move(Address to, Address from, Bytes bytes) override;
  Progress copy(Address to, const void* from, Bytes bytes) override;
  void wake(AddressRange range) override;
  Result<void> protect(AddressRange range, bool on) override;
  Result<void> poison(AddressRange range) override;
  bool may_be_held() override;
  void peek(void* to, Address from, Bytes bytes) override;
  void unshare(AddressRange range) override;
  void discard(AddressRange range) override;
  bool populate(AddressRange range) override;
  PageSet present(Address extent, bool* huge) override;
  Errno map_file(AddressRange range, int fd, uint64_t offset) override;
  void keep_replaced(Bytes bytes) override;
  void free_replaced() override;
  Errno map_empty(AddressRange range) override;
  unsigned owned(AddressRange range, AddressRange* out, unsigned max) override;
  PageSet exclusive(Address extent) override;
  unsigned read_faults(Fault* out, unsigned max) override;

 private:
  bool is_there(Address page) const;
  void put_aside(AddressRange range);
  Result<void> register_range(AddressRange range, uint64_t mode);

  LastingFd uffd_;
  LastingFd pagemap_;
  AddressRange replaced_{};  // address space for what map_file() replaces
  Address replaced_end_{};   // of what is used of it
};

// Opens a userfaultfd as LinuxPages::open does and reports the kernel's features; the descriptor is not protected.
// For probing. Errors as open().
Result<int> open_userfaultfd(uint64_t* features);

}  // namespace ebb
