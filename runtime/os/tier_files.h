// TierFiles on Linux: unlinked files in a directory of the tier, with O_DIRECT where the file system has it; on DAX
// file systems a shared mapping besides. A tmpfs is memory, too, but is read and written by system calls: a first touch
// of each page of a mapping costs several times what the call does (decision 0009). As a stand-in for persistent
// memory, with PMEM2_FORCE_GRANULARITY, it is mapped.
#pragma once

#include <atomic>

#include "os/kernel.h"
#include "os/pmem_copy.h"

namespace ebb {

class LinuxTierFiles final : public TierFiles {
 public:
  // `path` is an absolute directory, or a file in whose directory to work; copied. Learns what kind of tier it is.
  // Errors: ENOENT, EACCES, EROFS, ENAMETOOLONG, ...
  Errno open(const char* path);
  // Memory, not a device: pages are copied, not read.
  bool byte_addressable() const { return byte_addressable_; }
  // Byte-addressable by DAX: persistent memory, or what stands in for it.
  bool dax() const { return dax_; }
  // From now on copy_out() is done by `copy`, or by memcpy when that is null. Needs no lock.
  void use_copy(PmemCopy copy) { copy_.store(copy, std::memory_order_release); }
  const char* directory() const { return directory_; }

  Result<int> create() override;
  Errno reserve(int fd, uint64_t offset, uint64_t bytes) override;
  void punch(int fd, uint64_t offset, uint64_t bytes) override;
  char* map(int fd) override;
  void unmap(char* mapping) override;
  void copy_out(char* to, const char* from, uint64_t bytes) override;
  Errno read_cached(int fd, uint64_t offset, char* to, uint64_t bytes) override;
  void read_ahead(int fd, uint64_t offset, uint64_t bytes) override;
  Errno read(int fd, uint64_t offset, char* to, uint64_t bytes) override;
  Errno write(int fd, uint64_t offset, const char* from, uint64_t bytes, Cache cache) override;
  void close(int fd) override;
  Result<uint64_t> name(int fd, const char* folder) override;
  Result<uint64_t> identity(int fd) override;
  bool elsewhere(int fd, const char* folder) override;
  Result<int> reopen(const char* folder, uint64_t name, bool mapping) override;

 private:
  char directory_[4096] = {};
  uint64_t map_bytes_ = 0;
  bool byte_addressable_ = false;
  bool dax_ = false;
  std::atomic<PmemCopy> copy_{nullptr};
};

}  // namespace ebb
