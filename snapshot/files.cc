// Files below a folder: see files.h.
#include "snapshot/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <memory>

#include "snapshot/error.h"

namespace ebb::snapshot {
namespace {

struct CloseListing {
  void operator()(DIR* listing) const { closedir(listing); }
};

constexpr size_t kDeepest = 16;
constexpr size_t kLongest = 4095;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> out;
  for (;;) {
    const size_t slash = path.find('/');
    out.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    path.remove_prefix(slash + 1);
  }
}

void walk_into(int folder, const std::string& prefix, size_t depth, std::vector<FoundFile>* out) {
  if (depth > kDeepest) throw SnapshotError(prefix + ": too many folders in one another");
  for (const auto& name : names_in(folder)) {
    FoundFile found;
    found.path = prefix + name;
    if (fstatat(folder, name.c_str(), &found.info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      fail_with_errno(found.path, errno);
    }
    out->push_back(found);
    if (!found.is_folder()) continue;
    const Fd below(openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below.valid()) fail_with_errno(found.path, errno);
    walk_into(below.get(), found.path + "/", depth + 1, out);
  }
}

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.size() > kLongest || path.find('\0') != std::string_view::npos) return false;
  const auto parts = parts_of(path);
  return parts.size() <= kDeepest && std::none_of(parts.begin(), parts.end(), [](const std::string& part) {
           return part.empty() || part == "." || part == "..";
         });
}

Fd open_beneath(int folder, const std::string& path, int flags, mode_t mode) {
  if (!is_safe_path(path)) {
    errno = EINVAL;
    return Fd();
  }
  const auto parts = parts_of(path);
  Fd at;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    Fd next(openat(at.valid() ? at.get() : folder, parts[i].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return Fd();
    at = std::move(next);
  }
  Fd opened(openat(at.valid() ? at.get() : folder, parts.back().c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
  const int error = errno;  // closing what was on the way must not change it
  at.reset();
  errno = error;
  return opened;
}

std::vector<FoundFile> walk(int folder) {
  std::vector<FoundFile> out;
  walk_into(folder, "", 1, &out);
  return out;
}

std::vector<std::string> names_in(int folder) {
  Fd own(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) fail_with_errno("cannot read a folder", errno);
  const std::unique_ptr<DIR, CloseListing> listing(fdopendir(own.get()));
  if (!listing) fail_with_errno("cannot read a folder", errno);
  own.release();
  std::vector<std::string> out;
  errno = 0;
  while (const dirent* entry = readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(name);
  }
  if (errno != 0) fail_with_errno("cannot read a folder", errno);
  std::sort(out.begin(), out.end());
  return out;
}

std::string read_text(int folder, const std::string& path, Bytes limit) {
  const Fd file = open_beneath(folder, path, O_RDONLY | O_NONBLOCK);
  if (!file.valid()) fail_with_errno(path, errno);
  std::string out;
  char piece[65536];
  for (;;) {
    const ssize_t n = read(file.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno(path, errno);
    if (n == 0) return out;
    out.append(piece, static_cast<size_t>(n));
    if (out.size() > limit.count) throw SnapshotError(path + ": too large");
  }
}

void write_text(int fd, const std::string& text, const std::string& name) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno(name, errno);
    done += static_cast<size_t>(n);
  }
}

void sync_file(int fd, const std::string& name) {
  if (fsync(fd) != 0) fail_with_errno("cannot make durable: " + name, errno);
}

void read_at(int fd, char* buffer, uint64_t bytes, uint64_t offset, const std::string& name) {
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = pread(fd, buffer + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno(name, errno);
    if (n == 0) throw SnapshotError(name + ": shorter than it should be");
    done += static_cast<uint64_t>(n);
  }
}

void write_at(int fd, const char* bytes, uint64_t count, uint64_t offset, const std::string& name) {
  for (uint64_t done = 0; done < count;) {
    const ssize_t n = pwrite(fd, bytes + done, count - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno(name, errno);
    done += static_cast<uint64_t>(n);
  }
}

std::string own_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

void for_each_data(int fd, Bytes size, const std::string& name,
                   const std::function<void(uint64_t begin, uint64_t end)>& visit) {
  for (uint64_t at = 0; at < size.count;) {
    const off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;  // a hole up to the end
    if (data < 0 && errno != EINVAL) fail_with_errno(name, errno);
    const uint64_t begin = data < 0 ? at : static_cast<uint64_t>(data);
    if (begin >= size.count) return;
    const off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    const uint64_t end = hole <= data ? size.count : std::min(size.count, static_cast<uint64_t>(hole));
    visit(begin, end);
    at = end;
  }
}

bool is_file_at(int folder, const std::string& path, int fd) {
  struct stat file = {}, named = {};
  return fstat(fd, &file) == 0 && fstatat(folder, path.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         file.st_ino == named.st_ino && file.st_dev == named.st_dev;
}

bool try_lock(int fd, int operation) { return flock(fd, operation | LOCK_NB) == 0; }

void lock(int fd, int operation, const std::string& name) {
  while (flock(fd, operation) != 0)
    if (errno != EINTR) fail_with_errno("cannot lock " + name, errno);
}

}  // namespace ebb::snapshot
