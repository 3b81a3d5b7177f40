// Heaps' files on other file systems: see heap_copy.h.
#include "snapshot/heap_copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <string_view>
#include <utility>

#include "snapshot/error.h"
#include "snapshot/failure_point.h"
#include "snapshot/fd.h"
#include "snapshot/files.h"
#include "snapshot/space.h"
#include "tools/console.h"

namespace ebb::snapshot {
namespace {

using tools::Failure;

// Another process's open file, through an open file of ours; invalid when there is none.
Fd opened_of(pid_t pid, int number) {
  const Fd theirs = descriptor_of(pid, number);
  return theirs.valid() ? Fd(open(own_path(theirs.get()).c_str(), O_RDONLY | O_CLOEXEC)) : Fd();
}

// A file that was made without a name can be given one; one that has lost its name cannot.
bool can_be_linked(int fd, const struct stat& file, const struct stat& folder) {
  if (file.st_dev != folder.st_dev) return false;
  if (file.st_nlink > 0) return true;
  char link[PATH_MAX];
  const ssize_t n = readlink(own_path(fd).c_str(), link, sizeof link);
  return std::string_view(link, n > 0 ? static_cast<size_t>(n) : 0)
      .ends_with(fmt::format("/#{} (deleted)", file.st_ino));
}

class Copy {
 public:
  Copy(const std::string& folder, uint64_t name)
      : what_(fmt::format("cannot copy the heap to {}", folder)),
        path_(fmt::format("{}/{:016x}", folder, name)),
        to_(open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)) {
    if (to_.valid() || errno == ENOSPC || errno == EDQUOT) return;
    part_ = path_ + ".part";
    to_.reset(open(part_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  }
  ~Copy() {
    if (!part_.empty()) unlink(part_.c_str());
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  // The data of a file with holes, under its name once it is whole.
  void take(int from, Bytes size, Meter* meter) {
    if (!to_.valid() || ftruncate(to_.get(), static_cast<off_t>(size.count)) != 0) fail();
    const PageBuffer buffer(kPiece / kPageSize);
    for_each_data(from, size, what_, [&](uint64_t begin, uint64_t end) {
      for (uint64_t at = begin; at < end;) {
        const uint64_t bytes = std::min(kPiece, end - at);
        read_at(from, buffer.data(), bytes, at, what_);
        write_at(to_.get(), buffer.data(), bytes, at, what_);
        at += bytes;
        meter->add({bytes});
        failure_point("copy heap");
      }
    });
    const bool named =
        part_.empty() ? linkat(AT_FDCWD, own_path(to_.get()).c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0
                      : rename(part_.c_str(), path_.c_str()) == 0;
    if (!named) fail();
    part_.clear();
  }

 private:
  static constexpr uint64_t kPiece = uint64_t{1} << 20;

  [[noreturn]] void fail() const { fail_with_errno(what_, errno); }

  std::string what_, path_, part_;  // part_: where no file can be made without a name
  Fd to_;
};

Bytes copy_layer(const PagedProcess& process, const std::string& folder, const Progress& progress,
                 std::vector<Fd>* originals) {
  const JobFreeze& answer = process.freeze();
  const uint64_t name = answer.layer_name.load(std::memory_order_relaxed);
  if (access(fmt::format("{}/{:016x}", folder, name).c_str(), F_OK) == 0) return {};  // another process has it, too
  Fd from = opened_of(process.pid, answer.layer_fd.load(std::memory_order_relaxed));
  struct stat file = {}, there = {};
  // The store may have given the layer up since, and its number may be another file's.
  if (!from.valid() || fstat(from.get(), &file) != 0 || !S_ISREG(file.st_mode) || stat(folder.c_str(), &there) != 0 ||
      can_be_linked(from.get(), file, there))
    return {};
  const Bytes stored{static_cast<uint64_t>(file.st_blocks) * 512};
  Meter meter(progress, "copy", stored);
  Copy(folder, name).take(from.get(), {static_cast<uint64_t>(file.st_size)}, &meter);
  originals->push_back(std::move(from));
  return stored;
}

}  // namespace

Bytes copy_layers(const std::vector<PagedProcess>& processes, const std::string& folder, const Progress& progress,
                  std::vector<Fd>* originals) {
  Bytes copied{};
  try {
    for (const auto& process : processes)
      for (uint32_t layer = 0;; ++layer) {
        process.freeze().layer.store(layer, std::memory_order_relaxed);
        ask(process, Freeze::kShow);
        if (await(process, Freeze::kShow) == Answer::kGone ||
            process.freeze().layer_fd.load(std::memory_order_relaxed) < 0)
          break;
        copied += copy_layer(process, folder, progress, originals);
      }
  } catch (const SnapshotError& e) {
    throw Failure(fmt::format("{} ({})", e.what(), free_space(folder)));
  }
  return copied;
}

}  // namespace ebb::snapshot
