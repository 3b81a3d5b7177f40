// FakeFiles and FakeIo: see fake_files.h.
#include "fake_files.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace ebb {

FakeFiles::~FakeFiles() {
  for (auto& [fd, file] : files_) munmap(file.data, kLargest);
}

Bytes FakeFiles::used() const {
  Bytes sum;
  for (const auto& [fd, file] : files_) sum += to_bytes(Pages{file.pages.size()});
  return sum;
}

void FakeFiles::corrupt(int fd, uint64_t offset) {
  char& c = files_.at(fd).data[offset];
  c = static_cast<char>(c ^ 1);
}

Result<int> FakeFiles::create() {
  if (script) {
    if (const Errno e = script(Op::kCreate, -1, 0)) return e;
  }
  return create_file();
}

int FakeFiles::create_file() {
  void* data = mmap(nullptr, kLargest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) std::abort();
  files_[next_fd_].data = static_cast<char*>(data);
  files_[next_fd_].name = static_cast<uint64_t>(next_fd_);
  return next_fd_++;
}

Errno FakeFiles::reserve(int fd, uint64_t offset, uint64_t bytes) {
  if (script) {
    if (const Errno e = script(Op::kReserve, fd, offset)) return e;
  }
  const auto it = files_.find(fd);
  if (it == files_.end()) return {EBADF};
  File& file = it->second;
  if (offset + bytes > kLargest) return {EFBIG};
  const uint64_t first = offset >> kPageShift, last = (offset + bytes + kPageSize - 1) >> kPageShift;
  uint64_t fresh = 0;
  for (uint64_t p = first; p < last; ++p) fresh += !file.pages.count(p);
  if (used() + to_bytes(Pages{fresh}) > capacity_) return {ENOSPC};
  for (uint64_t p = first; p < last; ++p) file.pages.insert(p);
  file.size = std::max(file.size, offset + bytes);
  return {};
}

void FakeFiles::punch(int fd, uint64_t offset, uint64_t bytes) {
  const auto it = files_.find(fd);
  ASSERT_NE(it, files_.end()) << "punch in a file that is not open";
  const uint64_t first = align_up(offset, kPageSize) >> kPageShift, last = (offset + bytes) >> kPageShift;
  for (uint64_t p = first; p < last; ++p) {
    // Zeros on most file systems; a caller who relies on it should fail here.
    if (it->second.pages.erase(p)) std::memset(it->second.data + (p << kPageShift), 0xDD, kPageSize);
  }
}

char* FakeFiles::map(int fd) {
  if (!byte_addressable) return nullptr;
  ++files_.at(fd).maps;
  return files_.at(fd).data;
}

void FakeFiles::unmap(char* mapping) {
  for (auto& [fd, file] : files_)
    if (file.data == mapping && file.maps) {
      --file.maps;
      return;
    }
  ADD_FAILURE() << "unmap of what is not mapped";
}

void FakeFiles::copy_out(char* to, const char* from, uint64_t bytes) { std::memcpy(to, from, bytes); }

Errno FakeFiles::read_cached(int fd, uint64_t offset, char* to, uint64_t bytes) {
  return cached ? read(fd, offset, to, bytes) : Errno{EAGAIN};
}

Errno FakeFiles::read(int fd, uint64_t offset, char* to, uint64_t bytes) {
  if (call_script)
    if (const Errno e = call_script(false, fd, offset)) return e;
  const int32_t r =
      transfer({fd, false, to, static_cast<uint32_t>(bytes), offset, 0}, to, static_cast<uint32_t>(bytes));
  return r < 0 ? Errno{-r} : Errno{};
}

Errno FakeFiles::write(int fd, uint64_t offset, const char* from, uint64_t bytes, Cache) {
  if (call_script)
    if (const Errno e = call_script(true, fd, offset)) return e;
  char* const memory = const_cast<char*>(from);
  const int32_t r =
      transfer({fd, true, memory, static_cast<uint32_t>(bytes), offset, 0}, memory, static_cast<uint32_t>(bytes));
  return r < 0 ? Errno{-r} : Errno{};
}

void FakeFiles::close(int fd) {
  const auto it = files_.find(fd);
  ASSERT_NE(it, files_.end()) << "closed twice";
  munmap(it->second.data, kLargest);
  files_.erase(it);
}

Result<uint64_t> FakeFiles::name(int fd, const char* folder) {
  if (script) {
    if (const Errno e = script(Op::kName, fd, 0)) return e;
  }
  const std::string path = folder + std::string("/") + std::to_string(files_.at(fd).name);
  if (!named_.count(path)) named_[path] = copy_of(fd);
  return files_.at(fd).name;
}

Result<int> FakeFiles::reopen(const char* folder, uint64_t name, bool) {
  if (script) {
    if (const Errno e = script(Op::kReopen, -1, 0)) return e;
  }
  const auto it = named_.find(folder + std::string("/") + std::to_string(name));
  if (it == named_.end()) return Errno{ENOENT};
  return copy_of(it->second);
}

int FakeFiles::copy_of(int fd) {
  const int copy = create_file();
  files_[copy].size = files_[fd].size;
  files_[copy].pages = files_[fd].pages;
  files_[copy].name = files_[fd].name;
  for (const uint64_t p : files_[fd].pages)
    std::memcpy(files_[copy].data + (p << kPageShift), files_[fd].data + (p << kPageShift), kPageSize);
  return copy;
}

int32_t FakeFiles::transfer(const IoRequest& r, char* memory, uint32_t bytes) {
  const auto it = files_.find(r.fd);
  if (it == files_.end()) return -EBADF;
  File& file = it->second;
  if (r.write) {
    // Space that reserve() got is never refused; other space may be. Not through reserve(): its script is not asked.
    const uint64_t first = r.offset >> kPageShift, last = (r.offset + bytes + kPageSize - 1) >> kPageShift;
    if (r.offset + bytes > kLargest) return -EFBIG;
    for (uint64_t p = first; p < last; ++p) {
      if (!file.pages.count(p) && used() + Bytes{kPageSize} > capacity_) return -ENOSPC;
      file.pages.insert(p);
    }
    file.size = std::max(file.size, r.offset + bytes);
    std::memcpy(file.data + r.offset, memory, bytes);
    return static_cast<int32_t>(bytes);
  }
  if (r.offset >= file.size) return 0;
  const auto there = static_cast<uint32_t>(std::min<uint64_t>(bytes, file.size - r.offset));
  std::memcpy(memory, file.data + r.offset, there);
  return static_cast<int32_t>(there);
}

bool FakeIo::submit(const IoRequest& request) {
  if (in_flight() >= depth_) return false;
  taken_.push_back(request);
  return true;
}

void FakeIo::flush() {
  for (const IoRequest& r : taken_) {
    pages_.begin_transfer(r.buffer, r.bytes);
    flying_.push_back(r);
  }
  taken_.clear();
}

void FakeIo::finish(size_t index) {
  const IoRequest r = flying_[index];
  flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(index));
  int32_t result = script ? script(r) : 0;
  if (result >= 0) {
    const uint32_t bytes = result ? std::min(static_cast<uint32_t>(result), r.bytes) : r.bytes;
    char* memory = pages_.begin_transfer(r.buffer, r.bytes);
    result = files_.transfer(r, memory, bytes);
    pages_.end_transfer(r.buffer, r.bytes);
    if (result > 0) bytes_[r.write] += static_cast<uint64_t>(result);
  }
  pages_.end_transfer(r.buffer, r.bytes);
  done_.push_back({r.tag, result});
}

bool FakeIo::complete(uint64_t tag) {
  for (size_t i = 0; i < flying_.size(); ++i) {
    if (flying_[i].tag != tag) continue;
    finish(i);
    return true;
  }
  return false;
}

void FakeIo::finish_some() {
  if (order == Order::kHeld) return;
  if (order == Order::kInOrder) {
    while (!flying_.empty()) finish(0);
    return;
  }
  for (size_t n = random_() % (flying_.size() + 1); n; --n) finish(random_() % flying_.size());
}

unsigned FakeIo::reap(IoCompletion* out, unsigned max) {
  finish_some();
  unsigned n = 0;
  for (; n < max && !done_.empty(); ++n) {
    out[n] = done_.front();
    done_.pop_front();
  }
  return n;
}

void FakeIo::wait_one() {
  flush();
  if (!done_.empty()) return;
  ASSERT_FALSE(flying_.empty()) << "would wait for ever: nothing is in flight";
  EXPECT_NE(order, Order::kHeld) << "would wait for ever: the test holds all completions";
  finish(order == Order::kRandom ? random_() % flying_.size() : 0);
}

}  // namespace ebb
