// FakeFiles and FakeIo: a simulated device behind TierFiles and IoQueue, with limited space, scripted failures and
// completions in any order. A transfer takes its data at the moment it completes, so a buffer that is changed or given
// away too early shows; until then it holds its pages as the kernel does (a move of them is EBUSY).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fake_pages.h"
#include "os/kernel.h"

namespace ebb {

class FakeFiles final : public TierFiles {
 public:
  enum class Op { kCreate, kReserve, kName, kReopen };

  explicit FakeFiles(Bytes capacity = {uint64_t{1} << 30}) : capacity_(capacity) {}
  ~FakeFiles();
  FakeFiles(const FakeFiles&) = delete;
  FakeFiles& operator=(const FakeFiles&) = delete;

  // Asked before each operation; an error is its result.
  std::function<Errno(Op, int fd, uint64_t offset)> script;
  // As a DAX file system: map() works.
  bool byte_addressable = false;
  // What read() and write() do first; an error is their result.
  std::function<Errno(bool write, int fd, uint64_t offset)> call_script;

  void set_capacity(Bytes capacity) { capacity_ = capacity; }
  Bytes used() const;
  unsigned open_files() const { return static_cast<unsigned>(files_.size()); }
  bool is_open(int fd) const { return files_.count(fd) != 0; }
  // Flips one bit, as a device that returns something else than what was written.
  void corrupt(int fd, uint64_t offset);
  // What is stored at `offset`, without a transfer.
  const char* stored(int fd, uint64_t offset) const { return files_.at(fd).data + offset; }

  // What a transfer does in the end: bytes transferred or -errno.
  int32_t transfer(const IoRequest& request, char* memory, uint32_t bytes);

  Result<int> create() override;
  Errno reserve(int fd, uint64_t offset, uint64_t bytes) override;
  void punch(int fd, uint64_t offset, uint64_t bytes) override;
  char* map(int fd) override;
  void unmap(char* mapping) override;
  void copy_out(char* to, const char* from, uint64_t bytes) override;
  // Whether read_cached() finds anything.
  bool cached = false;
  Errno read_cached(int fd, uint64_t offset, char* to, uint64_t bytes) override;
  void read_ahead(int, uint64_t, uint64_t) override {}
  Errno read(int fd, uint64_t offset, char* to, uint64_t bytes) override;
  Errno write(int fd, uint64_t offset, const char* from, uint64_t bytes, Cache cache) override;
  void close(int fd) override;
  Result<uint64_t> name(int fd, const char* folder) override;
  Result<uint64_t> identity(int fd) override { return static_cast<uint64_t>(fd); }
  bool elsewhere(int, const char*) override { return false; }
  Result<int> reopen(const char* folder, uint64_t name, bool mapping) override;

 private:
  static constexpr uint64_t kLargest = uint64_t{1} << 30;
  struct File {
    char* data = nullptr;
    uint64_t size = 0;
    std::set<uint64_t> pages;  // that take space
    unsigned maps = 0;
    uint64_t name = 0;
  };

  int create_file();
  int copy_of(int fd);

  std::map<std::string, int> named_;  // a file of its own for each path: what was named is not written any more
  Bytes capacity_;
  std::map<int, File> files_;
  int next_fd_ = 1 << 20;  // no descriptor of the test process
};

class FakeIo final : public IoQueue {
 public:
  enum class Order {
    kInOrder,  // everything handed over is complete at the next reap
    kRandom,   // some of it, in random order
    kHeld,     // only what complete() was called for
  };

  FakeIo(FakePages& pages, FakeFiles& files, unsigned depth = 128) : pages_(pages), files_(files), depth_(depth) {}

  // Asked when a transfer completes. Negative: its error, nothing is transferred. Positive: only so many bytes are.
  // 0: as asked for.
  std::function<int32_t(const IoRequest&)> script;
  Order order = Order::kInOrder;
  void set_seed(unsigned seed) { random_.seed(seed); }
  // How many transfers there can be at a time.
  void set_depth(unsigned depth) { depth_ = depth; }

  // Transfers handed over and not complete, oldest first.
  std::vector<IoRequest> flying() const { return {flying_.begin(), flying_.end()}; }
  // Completes the transfer with this tag; false when none is flying.
  bool complete(uint64_t tag);
  uint64_t transferred(bool write) const { return bytes_[write]; }

  bool submit(const IoRequest& request) override;
  void flush() override;
  unsigned reap(IoCompletion* out, unsigned max) override;
  void wait_one() override;
  unsigned in_flight() const override { return static_cast<unsigned>(taken_.size() + flying_.size() + done_.size()); }

 private:
  void finish(size_t index);
  void finish_some();

  FakePages& pages_;
  FakeFiles& files_;
  unsigned depth_;
  std::deque<IoRequest> taken_, flying_;
  std::deque<IoCompletion> done_;
  std::mt19937 random_{1};
  uint64_t bytes_[2] = {};
};

}  // namespace ebb
