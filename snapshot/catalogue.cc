// The snapshots of a user: see catalogue.h.
#include "snapshot/catalogue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "snapshot/error.h"
#include "snapshot/failure_point.h"
#include "snapshot/files.h"
#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

uint64_t created(const Snapshot& snapshot) { return snapshot.manifest ? snapshot.manifest->created_unix_ns : 0; }

// How many letters to change, add or drop.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

[[noreturn]] void fail_not_found(const RootFolder& root, const std::string& tag) {
  std::vector<std::string> similar;
  bool draft = false;
  for (const auto& name : names_in(root.fd())) {
    draft = draft || (name.starts_with(kDraftPrefix) && tag_of_draft(name) == tag);
    if (is_tag(name) && (name.starts_with(tag) || tag.starts_with(name) || distance(tag, name) <= 2))
      similar.push_back(name);
  }
  std::string hint = "; see: ebb snapshots ls";
  if (draft) hint = "; one of this name is being made, or was left unfinished" + hint;
  if (!similar.empty()) hint = fmt::format("; did you mean {}?", fmt::join(similar, " or "));
  throw SnapshotError(fmt::format("no snapshot {} in {}{}", tag, root.path().string(), hint));
}

// What a delta needs is there, up to the first of its line.
void check_parents(const std::vector<Snapshot>& all, Snapshot* snapshot) {
  const Snapshot* at = snapshot;
  for (size_t step = 0; step <= all.size(); ++step) {
    if (!at->manifest || !at->manifest->parent_id) return;
    const auto parent = std::find_if(all.begin(), all.end(), [&](const Snapshot& s) {
      return s.manifest && s.manifest->id == *at->manifest->parent_id;
    });
    if (parent == all.end() || parent->state == State::kError) {
      snapshot->state = State::kError;
      snapshot->reason = fmt::format("its parent {} ({}) is {}", at->manifest->parent_tag, *at->manifest->parent_id,
                                     parent == all.end() ? "not here: import it" : "damaged");
      return;
    }
    at = &*parent;
  }
  snapshot->state = State::kError;
  snapshot->reason = "its parents go in a circle";
}

}  // namespace

// Of another user's root may: it is a courtesy, so nobody fails who may not.
void HeldSnapshot::mark_restore() const { (void)futimens(in_use.get(), nullptr); }

Catalogue::Catalogue(const std::filesystem::path& root, Foreign foreign)
    : root_(std::make_shared<const RootFolder>(root, foreign)), foreign_(foreign) {}

std::vector<Snapshot> Catalogue::list() const {
  std::vector<Snapshot> out;
  for (const auto& name : names_in(root_->fd())) {
    const bool draft = name.starts_with(kDraftPrefix);
    if (!draft && !is_tag(name)) continue;
    if (auto found = draft ? look_at_draft(*root_, name) : look_at(*root_, name)) out.push_back(std::move(*found));
  }
  for (auto& snapshot : out)
    if (snapshot.state == State::kCreated || snapshot.state == State::kPersisted) check_parents(out, &snapshot);
  std::stable_sort(out.begin(), out.end(),
                   [](const Snapshot& a, const Snapshot& b) { return created(a) < created(b); });
  return out;
}

Snapshot Catalogue::find(const std::string& tag) const {
  require_tag(tag);
  auto found = look_at(*root_, tag);
  if (!found) fail_not_found(*root_, tag);
  // Without a parent, nothing of the others matters: there may be many.
  const bool sound = found->state == State::kCreated || found->state == State::kPersisted;
  if (sound && found->manifest->parent_id) check_parents(list(), &*found);
  return std::move(*found);
}

std::chrono::system_clock::time_point Catalogue::last_restore(const std::string& tag) const {
  using std::chrono::system_clock;
  struct stat info = {};
  if (fstatat(root_->fd(), (tag + "/" + kInUseName).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(
      std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::nanoseconds(info.st_mtim.tv_nsec)));
}

std::vector<std::string> Catalogue::users_of(const Snapshot& snapshot) const {
  const Fd names = root_->lock_names();
  Fd in_use;
  return who_needs(*root_, snapshot.tag, &in_use);
}

Fd Catalogue::wait_for_users(const std::string& tag) const {
  if (!is_tag(tag)) return {};
  const std::string path = tag + "/" + kInUseName;
  for (;;) {
    Fd in_use = open_beneath(root_->fd(), path, O_RDONLY);
    if (!in_use.valid()) return {};
    lock(in_use.get(), LOCK_EX, kInUseName);
    if (is_file_at(root_->fd(), path, in_use.get())) return in_use;  // else it was replaced meanwhile
  }
}

HeldSnapshot Catalogue::hold(const std::string& tag, std::chrono::milliseconds patience) const {
  require_tag(tag);
  if (!root_->has_folder(tag)) fail_not_found(*root_, tag);
  const std::string path = tag + "/" + kInUseName;
  constexpr std::chrono::milliseconds kLook{10};
  for (auto waited = patience.zero(); waited < patience; waited += kLook) {
    Fd in_use = open_beneath(root_->fd(), path, O_RDONLY);
    if (!in_use.valid()) fail_with_errno(fmt::format("snapshot {}: {}", tag, kInUseName), errno);
    if (!try_lock(in_use.get(), LOCK_SH)) {
      std::this_thread::sleep_for(kLook);
      continue;
    }
    // Removed or replaced between opening and locking?
    if (!is_file_at(root_->fd(), path, in_use.get())) continue;
    return {find(tag), std::move(in_use)};
  }
  throw SnapshotError(fmt::format("snapshot {} is being removed or replaced", tag));
}

Draft Catalogue::begin(const std::string& tag, const std::optional<std::string>& parent_tag, bool replace) const {
  require_tag(tag);
  if (!replace && root_->has_folder(tag))
    throw SnapshotError(
        fmt::format("there is a snapshot {} already: choose another tag, or remove it: ebb snapshots rm {}", tag, tag));
  if (!parent_tag) return Draft(root_, tag, replace, Fd());
  HeldSnapshot parent = hold(*parent_tag);
  if (parent.snapshot.state == State::kError)
    throw SnapshotError(fmt::format("the parent {} cannot be built on: {}", *parent_tag, parent.snapshot.reason));
  Draft draft(root_, tag, replace, std::move(parent.in_use));
  draft.manifest().parent_id = parent.snapshot.manifest->id;
  draft.manifest().parent_tag = *parent_tag;
  draft.manifest().generation = parent.snapshot.manifest->generation + 1;
  return draft;
}

HeldSnapshot Catalogue::open_for_restore(const std::string& tag) const {
  HeldSnapshot held = hold(tag);
  const auto refuse = [&](const std::string& why) { throw SnapshotError(fmt::format("snapshot {}: {}", tag, why)); };
  if (held.snapshot.state == State::kError) refuse(held.snapshot.reason);
  const Fd folder = open_beneath(root_->fd(), tag, O_RDONLY | O_DIRECTORY);
  struct stat info = {};
  if (!folder.valid() || fstat(folder.get(), &info) != 0) fail_with_errno(held.snapshot.directory.string(), errno);
  const uid_t owner = info.st_uid;
  const bool admin = foreign_ == Foreign::kAllow && geteuid() == 0;
  if (owner != geteuid() && !admin)
    refuse(fmt::format("it belongs to user {}, and you are user {}: restore it as its owner", owner, geteuid()));
  if (held.snapshot.manifest->owner_uid != owner)
    refuse(fmt::format("user {} made it, but it belongs to user {}", held.snapshot.manifest->owner_uid, owner));
  auto all = walk(folder.get());
  all.push_back({".", info});
  for (const auto& found : all) {
    if (found.info.st_uid != owner) refuse(fmt::format("{} belongs to user {}", found.path, found.info.st_uid));
    if (!S_ISREG(found.info.st_mode) && !found.is_folder())
      refuse(fmt::format("{} is neither a regular file nor a folder", found.path));
    if (found.info.st_mode & (S_IWGRP | S_IWOTH))
      refuse(fmt::format("others can write to {}: chmod go-w it, if it can be trusted; see: ebb snapshots verify {}",
                         found.path, tag));
  }
  const std::string damage = damage_of_images(folder.get(), *held.snapshot.manifest);
  if (!damage.empty()) refuse(damage + "; see: ebb snapshots verify " + tag);
  return held;
}

}  // namespace ebb::snapshot
