// Import: see archive.h. Nothing that the archive says is believed before it is compared with the manifest in it.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "snapshot/archive.h"
#include "snapshot/error.h"
#include "snapshot/files.h"
#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

constexpr size_t kBlock = size_t{1} << 20;
constexpr Bytes kSpareSpace{uint64_t{1} << 20};  // for the manifest and the folders

class Reader {
 public:
  explicit Reader(int fd) : archive_(archive_read_new(), &archive_read_free) {
    if (!archive_) throw std::bad_alloc();
    check(archive_read_support_format_tar(archive_.get()));
    check(archive_read_open_fd(archive_.get(), fd, kBlock));
  }

  // The next entry's path, or nothing at the end. SnapshotError for what is neither a file nor a folder.
  std::optional<std::string> next() {
    for (;;) {
      const int result = archive_read_next_header(archive_.get(), &entry_);
      if (result == ARCHIVE_EOF) return std::nullopt;
      check(result);
      const char* name = archive_entry_pathname(entry_);
      if (!name) fail("a name in it cannot be read");
      std::string path = name;
      if (archive_entry_hardlink(entry_) || archive_entry_filetype(entry_) != AE_IFREG) {
        // Folders are made for the files in them.
        if (archive_entry_filetype(entry_) == AE_IFDIR && !archive_entry_hardlink(entry_)) {
          while (!path.empty() && path.back() == '/') path.pop_back();
          if (is_safe_path(path)) continue;
        }
        fail(fmt::format("{} is neither a regular file nor a folder of it", path));
      }
      if (!is_safe_path(path)) fail(fmt::format("{} leads out of the snapshot", path));
      return path;
    }
  }

  uint64_t size() const { return static_cast<uint64_t>(std::max<la_int64_t>(0, archive_entry_size(entry_))); }

  // Each stretch of the entry's content that is no hole. SnapshotError when that goes beyond size().
  template <class Visit>
  void for_each_block(const Visit& visit) {
    const uint64_t size = this->size();  // before the data is read
    for (;;) {
      const void* bytes = nullptr;
      size_t count = 0;
      la_int64_t offset = 0;
      const int result = archive_read_data_block(archive_.get(), &bytes, &count, &offset);
      if (result == ARCHIVE_EOF) return;
      check(result);
      if (offset < 0 || static_cast<uint64_t>(offset) > size || count > size - static_cast<uint64_t>(offset))
        fail("a file in it is longer than it says");
      visit(static_cast<const char*>(bytes), count, static_cast<uint64_t>(offset));
    }
  }

  [[noreturn]] static void fail(const std::string& why) {
    throw SnapshotError(fmt::format("the archive is refused: {}", why));
  }

 private:
  void check(int result) {
    if (result == ARCHIVE_OK) return;
    const char* text = archive_error_string(archive_.get());
    fail(text ? text : "it cannot be read");
  }

  std::unique_ptr<archive, decltype(&archive_read_free)> archive_;
  archive_entry* entry_ = nullptr;  // the archive's
};

Manifest read_manifest(Reader* reader, std::string* prefix) {
  const auto path = reader->next();
  if (!path) Reader::fail("it is empty");
  const size_t slash = path->find('/');
  if (slash == std::string::npos || path->substr(slash + 1) != kManifestName)
    Reader::fail("it does not begin with a manifest; make it with: ebb snapshots export");
  if (reader->size() > kLargestManifest.count) Reader::fail("its manifest is too large");
  std::string text(reader->size(), '\0');
  reader->for_each_block([&](const char* bytes, size_t count, uint64_t offset) {
    std::copy_n(bytes, count, text.begin() + static_cast<ptrdiff_t>(offset));
  });
  *prefix = path->substr(0, slash + 1);
  Manifest manifest = parse_manifest(text);
  if (!manifest.persisted) Reader::fail("it has no checksums");
  return manifest;
}

// The folders that `path` needs, below `folder`.
void make_folders(int folder, const std::string& path) {
  for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    const size_t slash = part.rfind('/');
    const Fd above = slash == std::string::npos ? Fd(dup(folder))
                                                : open_beneath(folder, part.substr(0, slash), O_RDONLY | O_DIRECTORY);
    const std::string name = slash == std::string::npos ? part : part.substr(slash + 1);
    if (!above.valid() || (mkdirat(above.get(), name.c_str(), 0700) != 0 && errno != EEXIST))
      fail_with_errno(part, errno);
  }
}

void unpack(Reader* reader, int folder, const FileRecord& record, Meter* meter) {
  if (reader->size() != record.size.count)
    Reader::fail(fmt::format("{} has {} bytes instead of {}", record.path, reader->size(), record.size.count));
  make_folders(folder, record.path);
  const Fd file = open_beneath(folder, record.path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file.valid()) fail_with_errno(record.path, errno);
  if (ftruncate(file.get(), static_cast<off_t>(record.size.count)) != 0) fail_with_errno(record.path, errno);
  reader->for_each_block([&](const char* bytes, size_t count, uint64_t offset) {
    write_at(file.get(), bytes, count, offset, record.path);
    meter->add({count});
  });
}

void unpack_all(Reader* reader, int folder, const Manifest& manifest, const std::string& prefix,
                const Progress& progress) {
  Meter meter(progress, "import", manifest.allocated());
  std::set<std::string> missing;
  for (const auto& record : manifest.files) missing.insert(record.path);
  while (const auto path = reader->next()) {
    const std::string name = path->compare(0, prefix.size(), prefix) == 0 ? path->substr(prefix.size()) : "";
    if (missing.erase(name) == 0)
      Reader::fail(fmt::format("its manifest does not name {}, or it is there twice", *path));
    const auto record = std::find_if(manifest.files.begin(), manifest.files.end(),
                                     [&](const FileRecord& file) { return file.path == name; });
    unpack(reader, folder, *record, &meter);
  }
  if (!missing.empty()) Reader::fail(fmt::format("{} is missing", *missing.begin()));
}

bool has_id(const std::vector<Snapshot>& all, const std::string& id) {
  return std::any_of(all.begin(), all.end(), [&](const Snapshot& s) { return s.manifest && s.manifest->id == id; });
}

}  // namespace

Imported read_archive(const Catalogue& catalogue, int fd, const std::optional<std::string>& as,
                      const Progress& progress) {
  Reader reader(fd);
  std::string prefix;
  Manifest manifest = read_manifest(&reader, &prefix);
  manifest.tag = as.value_or(manifest.tag);
  // Names that belong to the catalogue, and what a snapshot of ours never has at its top.
  for (const auto& record : manifest.files)
    if (record.path == kInUseName || record.path == kManifestName)
      Reader::fail(fmt::format("its manifest names {}", record.path));
  check_space(catalogue.root(), manifest.allocated() + kSpareSpace);

  Draft draft = catalogue.begin(manifest.tag);
  const Fd folder(open(draft.directory().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) fail_with_errno(draft.directory().string(), errno);
  unpack_all(&reader, folder.get(), manifest, prefix, progress);

  const auto all = catalogue.list();
  Imported result{manifest.tag, ""};
  if (manifest.parent_id && !has_id(all, *manifest.parent_id)) result.missing_parent = manifest.parent_tag;
  // A copy beside its original is a snapshot of its own: children keep to the original.
  if (has_id(all, manifest.id)) manifest.id = draft.manifest().id;
  manifest.owner_uid = draft.manifest().owner_uid;
  draft.expect(manifest.files);
  draft.manifest() = std::move(manifest);
  draft.publish(Durability::kPersisted, progress);
  draft.remove_replaced();
  return result;
}

}  // namespace ebb::snapshot
