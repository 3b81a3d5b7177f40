// `ebb snapshots`: see snapshots_command.h.
#include "tools/snapshots_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "snapshot/archive.h"
#include "snapshot/catalogue.h"
#include "snapshot/error.h"
#include "tools/console.h"
#include "tools/fd.h"
#include "tools/progress.h"
#include "tools/snapshot_place.h"
#include "tools/snapshots_options.h"
#include "tools/snapshots_report.h"

namespace ebb::tools {
namespace {

using snapshot::Catalogue;

constexpr int kExitProblems = 1;

void print(const std::string& text) {
  if (!write_all(STDOUT_FILENO, text)) throw Failure("cannot write to standard output: " + error_text(errno));
}

void print(const nlohmann::json& json) {
  print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

snapshot::Progress shown_by(TerminalProgress* line) {
  return [line](const char* step, Bytes done, Bytes total) { line->show(step, done, total); };
}

int list(const Catalogue& catalogue, const SnapshotsOptions& options) {
  const auto all = catalogue.list();
  options.json ? print(list_json(all, catalogue.root())) : print(list_text(all, catalogue.root()));
  return kExitOk;
}

int show(const Catalogue& catalogue, const SnapshotsOptions& options) {
  const auto one = catalogue.find(options.tags[0]);
  const auto users = catalogue.users_of(one);
  options.json ? print(show_json(one, users)) : print(show_text(one, users));
  return kExitOk;
}

int verify_all(const Catalogue& catalogue, const SnapshotsOptions& options) {
  std::vector<Verified> verified;
  if (options.all) {
    for (auto& one : catalogue.list())
      if (one.state != snapshot::State::kIncomplete) verified.push_back({std::move(one), {}});
  } else {
    for (const auto& tag : options.tags) verified.push_back({catalogue.find(tag), {}});
  }
  bool good = true;
  for (auto& one : verified) {
    TerminalProgress line;
    one.problems = snapshot::verify(one.snapshot, shown_by(&line));
    // What only the whole catalogue knows, a parent that is not there.
    if (one.problems.empty() && one.snapshot.state == snapshot::State::kError)
      one.problems.push_back({".", one.snapshot.reason});
    good = good && one.problems.empty();
  }
  options.json ? print(verify_json(verified)) : print(verify_text(verified));
  return good ? kExitOk : kExitProblems;
}

int remove(const Catalogue& catalogue, const SnapshotsOptions& options) {
  std::vector<snapshot::Snapshot> all;  // of all tags before any is removed: one may be a typing mistake
  for (const auto& tag : options.tags) all.push_back(catalogue.find(tag));
  const auto generation = [](const snapshot::Snapshot& one) { return one.manifest ? one.manifest->generation : 0; };
  std::stable_sort(all.begin(), all.end(),
                   [&](const auto& a, const auto& b) { return generation(a) > generation(b); });  // children first
  for (const auto& one : all) catalogue.remove(one.tag);
  catalogue.sweep();
  return kExitOk;
}

int prune(const Catalogue& catalogue, const SnapshotsOptions& options) {
  const auto swept = options.dry_run ? std::vector<std::string>() : catalogue.sweep();
  for (const auto& name : swept) print(fmt::format("removed {}: left over\n", name));
  print(prune_text(catalogue.prune(options.policy, options.dry_run), options.dry_run));
  return kExitOk;
}

// FILE is whole or as it was before.
class OutputFile {
 public:
  explicit OutputFile(const std::string& name) : name_(name), temporary_(fmt::format("{}.{}.tmp", name, getpid())) {
    file_.reset(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file_.valid()) throw Failure(fmt::format("cannot make {}: {}", temporary_, error_text(errno)));
  }
  OutputFile(const OutputFile&) = delete;
  ~OutputFile() {
    if (!done_) unlink(temporary_.c_str());
  }
  int fd() const { return file_.get(); }
  void finish() {
    if (fsync(file_.get()) != 0 || rename(temporary_.c_str(), name_.c_str()) != 0)
      throw Failure(fmt::format("cannot write {}: {}", name_, error_text(errno)));
    done_ = true;
  }

 private:
  std::string name_;
  std::string temporary_;
  Fd file_;
  bool done_ = false;
};

int export_one(const Catalogue& catalogue, const SnapshotsOptions& options) {
  TerminalProgress line;
  const std::string& tag = options.tags[0];
  if (options.file == "-" && isatty(STDOUT_FILENO)) throw Failure("export: standard output is a terminal: name a file");
  catalogue.persist(tag, shown_by(&line));  // an archive has checksums
  const auto held = catalogue.open_for_restore(tag);
  if (options.file == "-") {
    snapshot::write_archive(held, STDOUT_FILENO, shown_by(&line));
    return kExitOk;
  }
  OutputFile out(options.file);
  try {
    snapshot::write_archive(held, out.fd(), shown_by(&line));
  } catch (const snapshot::SnapshotError& e) {
    throw Failure(fmt::format("{}: {}", options.file, e.what()));
  }
  out.finish();
  return kExitOk;
}

int import_one(const Catalogue& catalogue, const SnapshotsOptions& options) {
  Fd file;
  if (options.file != "-") {
    file.reset(open(options.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) throw Failure(fmt::format("cannot open {}: {}", options.file, error_text(errno)));
  }
  catalogue.sweep();
  snapshot::Imported imported;
  {
    TerminalProgress line;
    imported = snapshot::read_archive(catalogue, file.valid() ? file.get() : STDIN_FILENO, options.as, shown_by(&line));
  }
  const Console console(Verbosity::kNormal);
  console.note(fmt::format("imported {}", imported.tag));
  if (!imported.missing_parent.empty())
    console.warn(fmt::format("{} builds on snapshot {}, which is not here: import that, too, before you restore it",
                             imported.tag, imported.missing_parent));
  return kExitOk;
}

int act(const SnapshotsOptions& options) {
  const Catalogue catalogue = options.root.empty() ? user_catalogue() : Catalogue(options.root);
  switch (options.action) {
    case SnapshotsAction::kList:
      return list(catalogue, options);
    case SnapshotsAction::kShow:
      return show(catalogue, options);
    case SnapshotsAction::kVerify:
      return verify_all(catalogue, options);
    case SnapshotsAction::kRemove:
      return remove(catalogue, options);
    case SnapshotsAction::kPrune:
      return prune(catalogue, options);
    case SnapshotsAction::kExport:
      return export_one(catalogue, options);
    case SnapshotsAction::kImport:
      return import_one(catalogue, options);
  }
  return kExitOurs;
}

}  // namespace

int snapshots_command(const std::vector<std::string>& arguments) {
  const SnapshotsOptions options = parse_snapshots(arguments);
  if (options.help) {
    print(*options.help);
    return kExitOk;
  }
  return with_snapshot_errors([&] { return act(options); });
}

}  // namespace ebb::tools
