// What makes snapshots durable and what removes them: see catalogue.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "snapshot/catalogue.h"
#include "snapshot/error.h"
#include "snapshot/failure_point.h"
#include "snapshot/files.h"
#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

// A new manifest in the root, locked, so that sweep() leaves it alone. Removed by the destructor unless it was moved.
class NewManifest {
 public:
  NewManifest(const RootFolder& root, const std::string& text) : root_(root), name_(kManifestPrefix + random_hex(8)) {
    {
      const Fd names = root.lock_names();
      failure_point("make manifest");
      file_ = open_beneath(root.fd(), name_, O_WRONLY | O_CREAT | O_EXCL, 0600);
      if (!file_.valid()) fail_with_errno(fmt::format("cannot make files in {}", root.path().string()), errno);
      lock(file_.get(), LOCK_EX, name_);
    }
    try {
      write_text(file_.get(), text, kManifestName);
      failure_point("sync manifest");
      sync_file(file_.get(), kManifestName);
    } catch (...) {
      unlinkat(root.fd(), name_.c_str(), 0);
      throw;
    }
  }
  NewManifest(const NewManifest&) = delete;
  ~NewManifest() {
    if (!moved_) unlinkat(root_.fd(), name_.c_str(), 0);
  }
  void move_over(int folder) {
    failure_point("rename manifest");
    if (renameat(root_.fd(), name_.c_str(), folder, kManifestName) != 0) fail_with_errno(kManifestName, errno);
    moved_ = true;
  }

 private:
  const RootFolder& root_;
  std::string name_;
  Fd file_;
  bool moved_ = false;
};

// Whether the draft's maker is dead. What its lock then is keeps others from taking it, too.
bool is_left_over(const RootFolder& root, const std::string& name, Fd* in_use) {
  *in_use = open_beneath(root.fd(), name + "/" + kInUseName, O_RDONLY);
  if (!in_use->valid()) return true;  // ended before it was there, or while it was taken away
  return try_lock(in_use->get(), LOCK_EX);
}

// Snapshots of one job share the files of its heap that have not changed, and nobody writes to them any more. What the
// first one was persisted with holds for all: to read them again would take the longest, and take what a device has
// damaged since for what it should be.
class SharedChecksums {
 public:
  SharedChecksums(int root, const std::vector<Snapshot>& snapshots) : root_(root) {
    for (const auto& snapshot : snapshots)
      if (snapshot.state == State::kPersisted)
        for (const auto& file : snapshot.manifest->files)
          if (file.checksum && file.path.starts_with("heap/")) files_.emplace(file.path, Known{snapshot.tag, file});
  }
  std::optional<std::string> of(const FileRecord& record, const struct stat& info) const {
    const auto [begin, end] = files_.equal_range(record.path);
    for (auto at = begin; at != end; ++at) {
      const auto& [tag, file] = at->second;
      struct stat other = {};
      const Fd same = open_beneath(root_, tag + "/" + file.path, O_RDONLY | O_NONBLOCK);
      if (file.size == record.size && same.valid() && fstat(same.get(), &other) == 0 && other.st_dev == info.st_dev &&
          other.st_ino == info.st_ino)
        return file.checksum;
    }
    return std::nullopt;
  }

 private:
  struct Known {
    std::string tag;
    FileRecord file;
  };
  int root_;
  std::multimap<std::string, Known> files_;
};

}  // namespace

class Catalogue::GiveWay {
 public:
  // Keeps references.
  GiveWay(const Catalogue& catalogue, HeldSnapshot& held)
      : catalogue_(catalogue), held_(held), begun_(catalogue.last_restore(tag())) {}

  void operator()() {
    constexpr std::chrono::milliseconds kLook{20}, kLongest{10'000};
    if (waited_ >= kLongest || !is_restored()) return;
    held_.in_use.reset();
    for (; waited_ < kLongest && is_restored(); waited_ += kLook) std::this_thread::sleep_for(kLook);
    // Whoever replaces it has the first claim, and gives it back when that fails.
    HeldSnapshot again = catalogue_.hold(tag(), std::chrono::minutes(10));
    if (!again.snapshot.manifest || again.snapshot.manifest->id != held_.snapshot.manifest->id)
      throw SnapshotError(fmt::format("snapshot {} has been replaced meanwhile", tag()));
    held_.in_use = std::move(again.in_use);
  }

 private:
  const std::string& tag() const { return held_.snapshot.tag; }
  bool is_restored() const {
    constexpr auto kFirstAnswers = std::chrono::seconds(2);
    const auto last = catalogue_.last_restore(tag());
    return last != begun_ && std::chrono::system_clock::now() - last < kFirstAnswers;
  }

  const Catalogue& catalogue_;
  HeldSnapshot& held_;
  std::chrono::system_clock::time_point begun_;
  std::chrono::milliseconds waited_{0};
};

void Catalogue::persist(const std::string& tag, const Progress& progress, Pace pace, Fd made) const {
  HeldSnapshot held = hold(tag);
  made.reset();
  if (held.snapshot.state == State::kPersisted) return;
  if (held.snapshot.state != State::kCreated)
    throw SnapshotError(fmt::format("snapshot {} cannot be persisted: {}", tag, held.snapshot.reason));
  Manifest manifest = *held.snapshot.manifest;
  if (manifest.parent_id)  // what it needs first; list() has seen that the line of parents ends
    for (const auto& other : list())
      if (other.manifest && other.manifest->id == *manifest.parent_id) persist(other.tag, progress, pace);
  const Fd folder = open_beneath(root_->fd(), tag, O_RDONLY | O_DIRECTORY);
  if (!folder.valid()) fail_with_errno(held.snapshot.directory.string(), errno);
  const SharedChecksums shared(root_->fd(), list());
  GiveWay give_way(*this, held);
  const Progress between = [&](const char* step, Bytes done, Bytes total) {
    if (pace == Pace::kGivesWay) give_way();
    if (progress) progress(step, done, total);
  };
  persist_files(folder.get(), &manifest, between,
                [&](const FileRecord& record, const struct stat& info) { return shared.of(record, info); });
  sync_folders(folder.get());
  manifest.persisted = true;
  NewManifest text(*root_, manifest_text(manifest));
  text.move_over(folder.get());
  sync_folders(folder.get());
  root_->sync();
}

void Catalogue::remove(const std::string& tag) const {
  require_tag(tag);
  Fd in_use;
  std::string name;
  {
    const Fd names = root_->lock_names();
    if (!root_->has_folder(tag)) (void)find(tag);  // says what is similar
    const auto needed_by = who_needs(*root_, tag, &in_use);
    if (!needed_by.empty())
      throw SnapshotError(fmt::format("snapshot {} stays: {} needs it", tag, fmt::join(needed_by, ", ")));
    name = root_->draft_name(tag);
    root_->rename(tag, name);
  }
  root_->sync();
  root_->remove_all(name);
}

std::vector<std::string> Catalogue::sweep() const {
  std::vector<std::string> out;
  for (const auto& name : names_in(root_->fd())) {
    Fd in_use;
    if (name.starts_with(kDraftPrefix)) {
      {
        const Fd names = root_->lock_names();
        if (!root_->has_folder(name) || !is_left_over(*root_, name, &in_use)) continue;
      }
      root_->remove_all(name);
      out.push_back(name);
    } else if (name.starts_with(kManifestPrefix)) {
      const Fd names = root_->lock_names();
      in_use = open_beneath(root_->fd(), name, O_RDONLY);
      if (!in_use.valid() || !try_lock(in_use.get(), LOCK_EX)) continue;
      root_->remove_all(name);
      out.push_back(name);
    }
  }
  return out;
}

std::vector<PruneDecision> Catalogue::prune(const PrunePolicy& policy, bool dry_run) const {
  std::vector<PruneCandidate> candidates;
  for (const auto& snapshot : list()) {
    if (snapshot.state == State::kIncomplete) continue;
    PruneCandidate candidate{snapshot.tag, "", "", 0, snapshot.allocated, ""};
    if (snapshot.manifest) {
      candidate.id = snapshot.manifest->id;
      candidate.parent_id = snapshot.manifest->parent_id.value_or("");
      candidate.created_unix_ns = snapshot.manifest->created_unix_ns;
      const auto holders = holders_of(*root_, snapshot.tag);
      if (!holders.empty()) candidate.fixed = fmt::format("in use by {}", fmt::join(holders, ", "));
    } else {
      candidate.fixed = "its age is not known: " + snapshot.reason;
    }
    candidates.push_back(std::move(candidate));
  }
  auto decisions = plan_prune(candidates, policy, unix_now_ns());
  for (auto& decision : decisions) {
    if (dry_run || !decision.remove) continue;
    try {
      remove(decision.tag);
    } catch (const SnapshotError& e) {  // somebody began to use it meanwhile, or took it away
      decision.remove = false;
      decision.reason = e.what();
    }
  }
  return decisions;
}

}  // namespace ebb::snapshot
