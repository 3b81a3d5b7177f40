// Rules: raw system calls only; called under the state lock by hooks and by the pager's thread.
#include "os/tier_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <cerrno>

#include "base/syscall.h"
#include "base/text.h"
#include "os/fd.h"

namespace ebb {
namespace {

Errno errno_of(long r) { return is_error(r) ? Errno{static_cast<int>(-r)} : Errno{}; }

// One mapping covers the whole of a layer's file, whatever it grows to: address space costs nothing.
constexpr uint64_t kMostMapped = uint64_t{1} << 40;

// Whether a new file in this directory is mapped without the page cache. A file is asked, not the mount options: DAX
// can be a property of a directory, and the kernel may have refused it.
bool has_dax(const char* directory) {
  const long fd = raw_syscall(SYS_open, as_arg(directory), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (is_error(fd)) return false;  // every file system with DAX has O_TMPFILE
  struct statx file = {};
  const long known = raw_syscall(SYS_statx, fd, as_arg(""), AT_EMPTY_PATH, STATX_BASIC_STATS, as_arg(&file));
  raw_syscall(SYS_close, fd);
  return !is_error(known) && (file.stx_attributes & file.stx_attributes_mask & STATX_ATTR_DAX);
}

// pread or pwrite of all of it.
Errno whole(long call, int fd, uint64_t offset, long memory, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const auto at = static_cast<long>(done);
    const long r = raw_syscall(call, fd, memory + at, static_cast<long>(bytes) - at, static_cast<long>(offset) + at);
    if (r == -EINTR) continue;
    if (r <= 0) return {r ? static_cast<int>(-r) : EIO};
    done += static_cast<uint64_t>(r);
  }
  return {};
}

}  // namespace

Errno LinuxTierFiles::open(const char* path) {
  size_t n = 0;
  while (path[n] && n < sizeof directory_ - 1) {
    directory_[n] = path[n];
    ++n;
  }
  if (path[n]) return {ENAMETOOLONG};
  directory_[n] = 0;
  struct statfs fs = {};
  long r = raw_syscall(SYS_open, as_arg(directory_), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (r == -ENOTDIR || r == -ENOENT) {  // a file's name: its directory
    while (n > 1 && directory_[n - 1] != '/') --n;
    if (n > 1) --n;
    directory_[n] = 0;
    r = raw_syscall(SYS_open, as_arg(directory_), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  if (is_error(r)) return errno_of(r);
  const long known = raw_syscall(SYS_fstatfs, r, as_arg(&fs));
  raw_syscall(SYS_close, r);
  if (is_error(known)) return errno_of(known);
  dax_ = has_dax(directory_);
  byte_addressable_ = dax_ || fs.f_type == TMPFS_MAGIC;
  map_bytes_ = align_up(static_cast<uint64_t>(fs.f_blocks) * static_cast<uint64_t>(fs.f_bsize), kExtentSize);
  if (map_bytes_ == 0 || map_bytes_ > kMostMapped) map_bytes_ = kMostMapped;
  return {};
}

Result<int> LinuxTierFiles::create() {
  const int direct = byte_addressable_ ? 0 : O_DIRECT;
  long fd = raw_syscall(SYS_open, as_arg(directory_), O_TMPFILE | O_RDWR | O_CLOEXEC | direct, 0600);
  if (fd == -EINVAL && direct) fd = raw_syscall(SYS_open, as_arg(directory_), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL) {  // file systems without O_TMPFILE
    static constinit unsigned serial = 0;
    TextBuffer<4200> name;
    name << directory_ << "/.ebbtide-" << raw_syscall(SYS_getpid) << '-' << ++serial;
    fd = raw_syscall(SYS_open, as_arg(name.c_str()), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | direct, 0600);
    if (fd == -EINVAL && direct)
      fd = raw_syscall(SYS_open, as_arg(name.c_str()), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (!is_error(fd)) raw_syscall(SYS_unlink, as_arg(name.c_str()));
  }
  if (is_error(fd)) return errno_of(fd);
  return protect_fd(static_cast<int>(fd));
}

Errno LinuxTierFiles::reserve(int fd, uint64_t offset, uint64_t bytes) {
  long r;
  do r = raw_syscall(SYS_fallocate, fd, 0, static_cast<long>(offset), static_cast<long>(bytes));
  while (r == -EINTR);
  // File systems without fallocate: the write itself will tell.
  return r == -EOPNOTSUPP ? Errno{} : errno_of(r);
}

void LinuxTierFiles::punch(int fd, uint64_t offset, uint64_t bytes) {
  raw_syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<long>(offset),
              static_cast<long>(bytes));
}

// Without MAP_SYNC, which would make each first write to a page wait for the file system's journal so that the page is
// still found after a power failure: the store ends with the process.
char* LinuxTierFiles::map(int fd) {
  if (!dax_ && !copy_.load(std::memory_order_acquire)) return nullptr;
  const long r = raw_syscall(SYS_mmap, 0, static_cast<long>(map_bytes_), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_NORESERVE, fd, 0);
  return is_error(r) ? nullptr : reinterpret_cast<char*>(r);
}

void LinuxTierFiles::unmap(char* mapping) { raw_syscall(SYS_munmap, as_arg(mapping), static_cast<long>(map_bytes_)); }

void LinuxTierFiles::copy_out(char* to, const char* from, uint64_t bytes) {
  if (const PmemCopy copy = copy_.load(std::memory_order_acquire))
    copy(to, from, bytes, kPmemCopyFlags);
  else
    __builtin_memcpy(to, from, bytes);
}

Errno LinuxTierFiles::read(int fd, uint64_t offset, char* to, uint64_t bytes) {
  return whole(SYS_pread64, fd, offset, as_arg(to), bytes);
}

Errno LinuxTierFiles::read_cached(int fd, uint64_t offset, char* to, uint64_t bytes) {
  const iovec part = {to, bytes};
  const long r = raw_syscall(SYS_preadv2, fd, as_arg(&part), 1, static_cast<long>(offset), 0, RWF_NOWAIT);
  if (is_error(r)) return errno_of(r);
  return r == static_cast<long>(bytes) ? Errno{} : Errno{EAGAIN};
}

void LinuxTierFiles::read_ahead(int fd, uint64_t offset, uint64_t bytes) {
  raw_syscall(SYS_fadvise64, fd, static_cast<long>(offset), static_cast<long>(bytes), POSIX_FADV_WILLNEED);
}

// The queue's transfers are direct where the file system can, and so is what goes past the cache.
Errno LinuxTierFiles::write(int fd, uint64_t offset, const char* from, uint64_t bytes, Cache cache) {
  const long flags = cache == Cache::kThrough ? raw_syscall(SYS_fcntl, fd, F_GETFL) : 0;
  const bool direct = !is_error(flags) && (flags & O_DIRECT);
  if (direct) raw_syscall(SYS_fcntl, fd, F_SETFL, flags & ~long{O_DIRECT});
  const Errno failed = whole(SYS_pwrite64, fd, offset, as_arg(from), bytes);
  if (direct) raw_syscall(SYS_fcntl, fd, F_SETFL, flags);
  return failed;
}

void LinuxTierFiles::close(int fd) { close_protected(fd); }

namespace {

using PathBuffer = TextBuffer<4200>;

void append_name(PathBuffer& path, const char* folder, uint64_t name) {
  path << folder << '/';
  for (int shift = 60; shift >= 0; shift -= 4) path << "0123456789abcdef"[(name >> shift) & 15];
}

// The data of a file with holes, on another file system.
Errno copy_file(int from, int to) {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  const long buffer = raw_syscall(SYS_mmap, 0, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(buffer)) return errno_of(buffer);
  struct stat info = {};
  Errno failed = errno_of(raw_syscall(SYS_fstat, from, as_arg(&info)));
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!failed) failed = errno_of(raw_syscall(SYS_ftruncate, to, info.st_size));
  for (uint64_t at = 0; !failed && at < size;) {
    const long data = raw_syscall(SYS_lseek, from, static_cast<long>(at), SEEK_DATA);
    if (data == -ENXIO) break;  // a hole up to the end
    if (!is_error(data)) at = align_down(static_cast<uint64_t>(data), kPageSize);
    const uint64_t bytes = size - at < kPiece ? size - at : kPiece;
    failed = whole(SYS_pread64, from, at, buffer, bytes);
    if (!failed) failed = whole(SYS_pwrite64, to, at, buffer, bytes);
    at += bytes;
  }
  raw_syscall(SYS_munmap, buffer, kPiece);
  return failed;
}

// A copy of a file under a name. Processes that share the file since a fork come here at the same time: the first one
// copies, the others wait for it. The name appears with the whole copy only: a process that found a part of it would
// take it for the file, and read zeros from it if the device is full.
Errno name_copy(int from, const char* folder, const char* path) {
  const long opened = raw_syscall(SYS_open, as_arg(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (is_error(opened)) return errno_of(opened);
  const int lock = static_cast<int>(opened);
  while (raw_syscall(SYS_flock, lock, LOCK_EX) == -EINTR) {
  }
  Errno failed{};
  if (raw_syscall(SYS_access, as_arg(path), F_OK) != 0) {
    PathBuffer part;  // where no file can be made without a name
    part << path << ".part";
    long copy = raw_syscall(SYS_open, as_arg(folder), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    const bool nameless = !is_error(copy);
    if (!nameless && copy != -ENOSPC && copy != -EDQUOT)
      copy = raw_syscall(SYS_open, as_arg(part.c_str()), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    failed = is_error(copy) ? errno_of(copy) : copy_file(from, static_cast<int>(copy));
    TextBuffer<40> own;
    own << "/proc/self/fd/" << copy;
    if (!failed && nameless)
      failed =
          errno_of(raw_syscall(SYS_linkat, AT_FDCWD, as_arg(own.c_str()), AT_FDCWD, as_arg(path), AT_SYMLINK_FOLLOW));
    if (!failed && !nameless) failed = errno_of(raw_syscall(SYS_rename, as_arg(part.c_str()), as_arg(path)));
    if (failed && !nameless) raw_syscall(SYS_unlink, as_arg(part.c_str()));
    if (!is_error(copy)) raw_syscall(SYS_close, copy);
  }
  raw_syscall(SYS_close, lock);
  return failed;
}

}  // namespace

// Of a file, whichever descriptor it is asked by: where it is, and when it was made.
Result<uint64_t> LinuxTierFiles::identity(int fd) {
  struct statx file = {};
  const long r = raw_syscall(SYS_statx, fd, as_arg(""), AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, as_arg(&file));
  if (is_error(r)) return errno_of(r);
  const uint64_t born = static_cast<uint64_t>(file.stx_btime.tv_sec) * 1'000'000'000u + file.stx_btime.tv_nsec;
  return (file.stx_ino * 0x9E3779B97F4A7C15ull) ^ (uint64_t{file.stx_dev_minor} << 56) ^ born;
}

bool LinuxTierFiles::elsewhere(int fd, const char* folder) {
  struct stat file = {}, there = {};
  return !is_error(raw_syscall(SYS_fstat, fd, as_arg(&file))) &&
         !is_error(raw_syscall(SYS_stat, as_arg(folder), as_arg(&there))) && file.st_dev != there.st_dev;
}

Result<uint64_t> LinuxTierFiles::name(int fd, const char* folder) {
  const auto identity = this->identity(fd);
  if (!identity.ok()) return identity;
  PathBuffer path;
  append_name(path, folder, identity.value());
  TextBuffer<40> own;
  own << "/proc/self/fd/" << fd;
  const long linked =
      raw_syscall(SYS_linkat, AT_FDCWD, as_arg(own.c_str()), AT_FDCWD, as_arg(path.c_str()), AT_SYMLINK_FOLLOW);
  if (!is_error(linked) || linked == -EEXIST) return identity;
  // EXDEV: on another file system. ENOENT: a file that has no name any more, or never can have one.
  if (linked != -EXDEV && linked != -ENOENT && linked != -EPERM && linked != -EMLINK) return errno_of(linked);
  if (const Errno failed = name_copy(fd, folder, path.c_str())) return failed;
  return identity;
}

Result<int> LinuxTierFiles::reopen(const char* folder, uint64_t name, bool mapping) {
  PathBuffer path;
  append_name(path, folder, name);
  const long fd = raw_syscall(SYS_open, as_arg(path.c_str()), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (is_error(fd)) return errno_of(fd);
  // What is read ahead is the pager's to decide, who knows what is there already.
  if (!mapping) raw_syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_RANDOM);
  return protect_fd(static_cast<int>(fd));
}

}  // namespace ebb
