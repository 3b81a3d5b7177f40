// Which process tree the user means: see job_target.h.
#include "tools/job_target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <algorithm>
#include <climits>
#include <csignal>
#include <optional>
#include <vector>

#include "snapshot/criu.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/run_options.h"
#include "tools/system_files.h"

namespace ebb::tools {
namespace {

std::string program_of(pid_t pid) {
  char path[PATH_MAX];
  const ssize_t n = readlink(fmt::format("/proc/{}/exe", pid).c_str(), path, sizeof(path));
  const std::string text(path, static_cast<size_t>(n > 0 ? n : 0));
  return text.substr(text.rfind('/') + 1);
}

// The words that a process was started with; empty ones too.
std::vector<std::string> words_of(pid_t pid) {
  const std::string text = SystemFiles().read(fmt::format("/proc/{}/cmdline", pid)).value_or("");
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// A command of ours in front of a job.
bool is_front(pid_t pid, const std::vector<std::string>& words) {
  return pid != getpid() && words.size() >= 2 && (words[1] == "run" || words[1] == "restore" || words[1] == "clone") &&
         program_of(pid) == "ebb";
}

pid_t parent_of(pid_t pid) {
  const std::string text = SystemFiles().field(fmt::format("/proc/{}/status", pid), "PPid").value_or("");
  return static_cast<pid_t>(parse_number(text).value_or(0));
}

// The program that a front of ours runs: its only child, but for copies of itself, which watch over a restore or are
// the first process of a clone. Failure while it is being restored: whoever is there then is CRIU, or what it has made
// so far.
std::optional<pid_t> program_behind(pid_t front) {
  const auto text = SystemFiles().read(fmt::format("/proc/{0}/task/{0}/children", front)).value_or("");
  const auto own_words = words_of(front);
  std::optional<pid_t> program;
  for (const auto& word : split(text, ' ')) {
    const auto child = static_cast<pid_t>(parse_number(word).value_or(0));
    if (child <= 0) continue;
    const auto words = words_of(child);
    if (snapshot::is_restoring_criu(words) || snapshot::tracer_of(child) == front)
      throw Failure(fmt::format("process {} is only just restoring its job: try again when it runs", front));
    const auto found = words == own_words ? program_behind(child) : child;
    if (found && program && words == own_words)
      throw Failure(fmt::format("process {} runs several copies: give the PID of one of them", front));
    if (!program) program = found;
  }
  return program;
}

// "" when it is not an `ebb run`.
std::string name_of(const std::vector<std::string>& words) {
  if (words[1] != "run") return "";
  try {
    return parse_run({words.begin() + 2, words.end()}).name;
  } catch (const Failure&) {
    return "";
  }
}

}  // namespace

pid_t find_job(const std::string& word) {
  if (const auto number = parse_number(word)) {
    const auto pid = static_cast<pid_t>(*number);
    if (*number <= 0 || *number > INT_MAX || access(fmt::format("/proc/{}", pid).c_str(), F_OK) != 0)
      throw Failure(fmt::format("no process {}", word));
    if (!is_front(pid, words_of(pid))) return pid;
    const auto program = program_behind(pid);
    if (!program) throw Failure(fmt::format("process {} runs no program any more", word));
    return *program;
  }
  std::vector<pid_t> found;
  for (const auto& name : SystemFiles().names("/proc")) {
    const auto number = parse_number(name);
    if (!number) continue;
    const auto pid = static_cast<pid_t>(*number);
    const auto words = words_of(pid);
    if (!is_front(pid, words) || name_of(words) != word) continue;
    if (const auto program = program_behind(pid)) found.push_back(*program);
  }
  if (found.empty())
    throw Failure(fmt::format("no job is called {}; give its PID, or name it: ebb run --name", shell_quoted(word)));
  if (found.size() > 1)
    throw Failure(
        fmt::format("several jobs are called {}; give a PID: {}", shell_quoted(word), fmt::join(found, ", ")));
  return found[0];
}

pid_t job_around(pid_t pid) {
  for (pid_t child = pid, parent = parent_of(pid); parent > 0; child = parent, parent = parent_of(parent))
    if (is_front(parent, words_of(parent))) return child;
  return pid;
}

std::string job_name(pid_t root) {
  const pid_t front = parent_of(root);
  const auto words = words_of(front);
  return is_front(front, words) ? name_of(words) : "";
}

}  // namespace ebb::tools
