// Export: see archive.h.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <memory>

#include "snapshot/archive.h"
#include "snapshot/error.h"
#include "snapshot/files.h"

namespace ebb::snapshot {
namespace {

constexpr uint64_t kPiece = uint64_t{1} << 20;

struct Stretch {
  uint64_t begin;
  uint64_t end;
};

class Writer {
 public:
  Writer(int fd, const std::string& tag) : archive_(archive_write_new(), &archive_write_free), prefix_(tag + "/") {
    if (!archive_) throw std::bad_alloc();
    check(archive_write_set_format_pax(archive_.get()));
    check(archive_write_open_fd(archive_.get(), fd));
  }

  void add_text(const std::string& name, const std::string& text, uint64_t unix_s) {
    const auto entry = make_entry(name, {text.size()}, unix_s);
    check(archive_write_header(archive_.get(), entry.get()));
    put(text.data(), text.size());
  }

  void add_file(int folder, const FileRecord& record, uint64_t unix_s, Meter* meter) {
    const Fd file = open_beneath(folder, record.path, O_RDONLY | O_NONBLOCK);
    if (!file.valid()) fail_with_errno(record.path, errno);
    std::vector<Stretch> data;
    for_each_data(file.get(), record.size, record.path, [&](uint64_t begin, uint64_t end) {
      data.push_back({begin, end});
    });
    const auto entry = make_entry(record.path, record.size, unix_s);
    const bool whole = data.size() == 1 && data[0].begin == 0 && data[0].end == record.size.count;
    for (const auto& stretch : data)
      if (!whole)
        archive_entry_sparse_add_entry(entry.get(), static_cast<la_int64_t>(stretch.begin),
                                       static_cast<la_int64_t>(stretch.end - stretch.begin));
    if (data.empty() && record.size.count > 0) archive_entry_sparse_add_entry(entry.get(), 0, 0);
    check(archive_write_header(archive_.get(), entry.get()));
    // The library wants the holes, too, and leaves them out itself.
    uint64_t at = 0;
    for (const auto& stretch : data) {
      put_zeros(stretch.begin - at, meter);
      put_data(file.get(), stretch, record.path, meter);
      at = stretch.end;
    }
    put_zeros(record.size.count - at, meter);
  }

  void close() { check(archive_write_close(archive_.get())); }

 private:
  using Entry = std::unique_ptr<archive_entry, decltype(&archive_entry_free)>;

  void check(int result) {
    if (result == ARCHIVE_OK) return;
    // Its own text may be no more than "Write error".
    if (const int error = archive_errno(archive_.get()); error > 0) fail_with_errno("cannot write the archive", error);
    const char* text = archive_error_string(archive_.get());
    throw SnapshotError(fmt::format("cannot write the archive: {}", text ? text : "no reason given"));
  }

  Entry make_entry(const std::string& name, Bytes size, uint64_t unix_s) {
    Entry entry(archive_entry_new(), &archive_entry_free);
    if (!entry) throw std::bad_alloc();
    archive_entry_set_pathname(entry.get(), (prefix_ + name).c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0600);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size.count));
    archive_entry_set_mtime(entry.get(), static_cast<time_t>(unix_s), 0);
    return entry;
  }

  void put(const char* bytes, uint64_t count) {
    for (uint64_t done = 0; done < count;) {
      const la_ssize_t n = archive_write_data(archive_.get(), bytes + done, count - done);
      if (n <= 0) check(ARCHIVE_FATAL);
      done += static_cast<uint64_t>(n);
    }
  }

  void put_zeros(uint64_t count, Meter* meter) {
    for (uint64_t n = 0; count > 0; count -= n) {
      n = std::min(kPiece, count);
      put(zeros_.data(), n);
      meter->add({n});
    }
  }

  void put_data(int fd, Stretch stretch, const std::string& name, Meter* meter) {
    for (uint64_t at = stretch.begin; at < stretch.end;) {
      const ssize_t n = pread(fd, buffer_.data(), std::min(kPiece, stretch.end - at), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_with_errno(name, errno);
      if (n == 0) throw SnapshotError(name + ": shorter than it should be");
      put(buffer_.data(), static_cast<uint64_t>(n));
      meter->add({static_cast<uint64_t>(n)});
      at += static_cast<uint64_t>(n);
    }
  }

  std::unique_ptr<archive, decltype(&archive_write_free)> archive_;
  std::string prefix_;
  std::vector<char> zeros_ = std::vector<char>(kPiece);
  PageBuffer buffer_{kPiece / kPageSize};
};

}  // namespace

void write_archive(const HeldSnapshot& held, int fd, const Progress& progress) {
  const Snapshot& snapshot = held.snapshot;
  if (snapshot.state != State::kPersisted)
    throw SnapshotError(fmt::format("snapshot {} cannot be exported: it is {}{}{}", snapshot.tag, word(snapshot.state),
                                    snapshot.reason.empty() ? "" : ": ", snapshot.reason));
  const Fd folder(open(snapshot.directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) fail_with_errno(snapshot.directory.string(), errno);
  const Manifest& manifest = *snapshot.manifest;
  const uint64_t unix_s = manifest.created_unix_ns / 1'000'000'000;
  Meter meter(progress, "export", manifest.size());
  Writer writer(fd, snapshot.tag);
  writer.add_text(kManifestName, manifest_text(manifest), unix_s);
  for (const auto& record : manifest.files) writer.add_file(folder.get(), record, unix_s, &meter);
  writer.close();
}

}  // namespace ebb::snapshot
