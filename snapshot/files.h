// Files below a folder that is held open: names that cannot leave it, no symbolic link followed, all errors named.
//
// Everything here is safe in several threads; nothing keeps state.
#pragma once

#include <sys/stat.h>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "snapshot/fd.h"

namespace ebb::snapshot {

// A relative path whose parts are names: no "", ".", "..", no NUL, at most 16 parts and 4095 bytes.
bool is_safe_path(std::string_view path);

// openat below `folder`, part by part; a symbolic link on the way or at the end is refused (ELOOP or ENOTDIR), an
// unsafe path too (EINVAL). The descriptor is invalid with errno set when that fails. `mode` is for O_CREAT.
Fd open_beneath(int folder, const std::string& path, int flags, mode_t mode = 0);

struct FoundFile {
  std::string path;  // relative
  struct stat info;
  bool is_folder() const { return S_ISDIR(info.st_mode); }
  Bytes size() const { return {static_cast<uint64_t>(info.st_size)}; }
  Bytes allocated() const { return {static_cast<uint64_t>(info.st_blocks) * 512}; }
};

// Everything below `folder` but itself, folders before what is in them, else by name. SnapshotError when a folder
// cannot be read or is nested too deep.
std::vector<FoundFile> walk(int folder);
// The names in `folder`, sorted, without "." and "..". SnapshotError when it cannot be read.
std::vector<std::string> names_in(int folder);

// All of a small file. SnapshotError when it is larger than `limit` or cannot be read.
std::string read_text(int folder, const std::string& path, Bytes limit);
// write(2) until done. SnapshotError with `name` otherwise.
void write_text(int fd, const std::string& text, const std::string& name);
// fsync(2). SnapshotError with `name` otherwise.
void sync_file(int fd, const std::string& name);

// Memory for files to be read to, at the begin of a page: to other places the kernel copies far more slowly on some
// machines (docs/decisions/0015). Throws std::bad_alloc.
class PageBuffer {
 public:
  explicit PageBuffer(size_t pages) : data_(static_cast<char*>(std::aligned_alloc(kPageSize, pages * kPageSize))) {
    if (!data_) throw std::bad_alloc();
  }
  char* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };
  std::unique_ptr<char, Free> data_;
};

// pread(2) and pwrite(2) until done. SnapshotError with `name` otherwise, also where the file ends before.
void read_at(int fd, char* buffer, uint64_t bytes, uint64_t offset, const std::string& name);
void write_at(int fd, const char* bytes, uint64_t count, uint64_t offset, const std::string& name);
// The path that leads to a descriptor of ours, whatever became of the file's name.
std::string own_path(int fd);

// Calls back for each stretch of `fd` that may hold something else than zeros, in order, by SEEK_DATA; a file system
// without it has one stretch. SnapshotError with `name` when the file cannot be asked.
void for_each_data(int fd, Bytes size, const std::string& name,
                   const std::function<void(uint64_t begin, uint64_t end)>& visit);

// Takes an flock (LOCK_SH or LOCK_EX) without waiting: whether that worked. Held until all copies of the descriptor are
// closed, forked children's included.
bool try_lock(int fd, int operation);
// The same, and waits.
void lock(int fd, int operation, const std::string& name);
// Whether `fd` is the file that `path` in `folder` names now.
bool is_file_at(int folder, const std::string& path, int fd);

}  // namespace ebb::snapshot
