// What a snapshot must remember of a job beside CRIU's images: see job_record.h.
#include "snapshot/job_record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "snapshot/private_folder.h"
#include "tools/console.h"
#include "tools/fd.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using nlohmann::json;
using tools::Failure;

constexpr char kDeleted[] = " (deleted)";

int64_t mtime_of(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

bool is_deleted(const std::string& target) {
  const size_t length = sizeof(kDeleted) - 1;
  return target.size() > length && target.compare(target.size() - length, length, kDeleted) == 0;
}

// A path whose file another program could change. What the kernel makes up has no size to compare.
bool is_named_file(const std::string& target) {
  return target[0] == '/' && !is_deleted(target) && target.rfind("/proc/", 0) != 0 && target.rfind("/sys/", 0) != 0 &&
         target.rfind("/dev/pts/", 0) != 0;
}

// "start-end perms offset device inode    path"
std::string mapped_path(const std::string& line) {
  const size_t at = line.find('/');
  return at == std::string::npos ? "" : line.substr(at);
}

void write_json(const std::string& path, const json& value) {
  const tools::Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const auto text = value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  if (!file.valid() || !tools::write_all(file.get(), text))
    throw Failure(fmt::format("cannot write {}: {}", path, tools::error_text(errno)));
}

json read_json(const std::string& path) {
  const auto text = tools::SystemFiles().read(path);
  if (!text)
    throw Failure(fmt::format("cannot read {}: {}: no complete snapshot is there", path, tools::error_text(errno)));
  json value = json::parse(*text, nullptr, false);
  if (value.is_discarded()) throw Failure(fmt::format("{} is damaged: it is no JSON", path));
  return value;
}

// Runs `use` on a parsed file; a key that is missing or of another kind is damage.
template <typename Use>
auto with_json(const std::string& path, Use use) {
  const json value = read_json(path);
  try {
    return use(value);
  } catch (const json::exception& e) {
    throw Failure(fmt::format("{} is damaged: {}", path, e.what()));
  }
}

}  // namespace

JobRecord record_job(const ProcessTree& tree) {
  JobRecord job;
  const auto pids = namespace_pids(tree.root);
  if (pids.empty()) throw Failure(fmt::format("no process {}", tree.root));
  job.root = pids.back();
  job.command = tree.command;
  job.terminal = tree.terminal;
  job.temporary_directory = start_variable(tree.root, "TMPDIR");
  if (job.temporary_directory.empty() || job.temporary_directory[0] != '/') job.temporary_directory = "/tmp";
  // From inside of its namespace the PIDs do not tell.
  job.own_namespace = pids.size() > 1 || has_private_folder(tree.root, job.temporary_directory);
  for (const auto& pipe : outside_pipes(tree))
    if (pipe.descriptor >= 0) job.pipes.push_back({pipe.inode, pipe.descriptor});
  for (const auto& held : tree.descriptors) {
    if (held.pid != tree.root || held.number < 1 || held.number > 2 || !is_named_file(held.target)) continue;
    struct stat info = {};
    if (stat(fmt::format("/proc/{}/fd/{}", held.pid, held.number).c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        std::find(job.output_files.begin(), job.output_files.end(), held.target) == job.output_files.end())
      job.output_files.push_back(held.target);
  }
  return job;
}

std::vector<RecordedFile> record_files(const ProcessTree& tree, const std::string& heap) {
  std::map<std::string, RecordedFile> found;
  const auto add = [&](const std::string& path, const std::string& through) {
    struct stat info = {};
    if (!is_named_file(path) || (!heap.empty() && path.rfind(heap + "/", 0) == 0) || found.count(path) > 0 ||
        stat(through.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
      return;
    found[path] = {path, static_cast<uint64_t>(info.st_size), mtime_of(info), info.st_ino};
  };
  for (const auto& held : tree.descriptors) add(held.target, fmt::format("/proc/{}/fd/{}", held.pid, held.number));
  for (const pid_t pid : tree.pids) {
    const auto maps = tools::SystemFiles().read(fmt::format("/proc/{}/maps", pid)).value_or("");
    for (const auto& line : tools::split(maps, '\n')) {
      const std::string path = mapped_path(line);
      if (!path.empty()) add(path, fmt::format("/proc/{}/root{}", pid, path));
    }
  }
  std::vector<RecordedFile> out;
  for (auto& [path, file] : found) out.push_back(std::move(file));
  return out;
}

void write_job(const std::string& images, const JobRecord& job) {
  json pipes = json::array();
  for (const auto& pipe : job.pipes) pipes.push_back({{"inode", pipe.inode}, {"descriptor", pipe.descriptor}});
  write_json(images + "/job.json", {{"root", job.root},
                                    {"command", job.command},
                                    {"temporary_directory", job.temporary_directory},
                                    {"terminal", job.terminal},
                                    {"own_namespace", job.own_namespace},
                                    {"tcp", job.tcp},
                                    {"pipes", pipes},
                                    {"output_files", job.output_files},
                                    {"paged", job.paged},
                                    {"heap", job.heap}});
}

void write_files(const std::string& images, const std::vector<RecordedFile>& files) {
  json list = json::array();
  for (const auto& file : files)
    list.push_back({{"path", file.path}, {"size", file.size}, {"mtime_ns", file.mtime_ns}, {"inode", file.inode}});
  write_json(images + "/files.json", list);
}

JobRecord read_job(const std::string& images) {
  return with_json(images + "/job.json", [](const json& value) {
    JobRecord job;
    value.at("root").get_to(job.root);
    value.at("command").get_to(job.command);
    value.at("temporary_directory").get_to(job.temporary_directory);
    value.at("terminal").get_to(job.terminal);
    value.at("own_namespace").get_to(job.own_namespace);
    value.at("tcp").get_to(job.tcp);
    value.at("output_files").get_to(job.output_files);
    job.paged = value.value("paged", job.paged);
    job.heap = value.value("heap", job.heap);
    for (const auto& pipe : value.at("pipes")) job.pipes.push_back({pipe.at("inode"), pipe.at("descriptor")});
    return job;
  });
}

std::vector<RecordedFile> read_files(const std::string& images) {
  return with_json(images + "/files.json", [](const json& value) {
    std::vector<RecordedFile> files;
    for (const auto& file : value)
      files.push_back({file.at("path"), file.at("size"), file.at("mtime_ns"), file.at("inode")});
    return files;
  });
}

std::vector<ChangedFile> changed_files(const std::vector<RecordedFile>& files) {
  std::vector<ChangedFile> out;
  for (const auto& file : files) {
    struct stat info = {};
    if (stat(file.path.c_str(), &info) != 0)
      out.push_back({file.path, true, false, fmt::format("{} is missing", file.path)});
    else if (static_cast<uint64_t>(info.st_size) != file.size)
      out.push_back({file.path, false, info.st_ino == file.inode && static_cast<uint64_t>(info.st_size) > file.size,
                     fmt::format("{} has {} bytes instead of {}", file.path, info.st_size, file.size)});
    else if (mtime_of(info) != file.mtime_ns)
      out.push_back({file.path, false, false, fmt::format("{} was written since", file.path)});
  }
  return out;
}

}  // namespace ebb::snapshot
