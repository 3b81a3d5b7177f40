// A running process tree as /proc shows it: see process_tree.h.
#include "snapshot/process_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <map>
#include <set>

#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::Failure;
using tools::SystemFiles;

// Descriptors that no CRIU can store.
struct Obstacle {
  const char* target;
  const char* reason;
  bool of_pagers = false;  // a process that is paged has one
};
constexpr Obstacle kObstacles[] = {
    {"anon_inode:[userfaultfd]", "is a userfaultfd, which no CRIU can store", true},
    {"anon_inode:[io_uring]",
     "is an io_uring, which no CRIU can store; end that I/O or turn io_uring off in the program", true},
    {"anon_inode:[perf_event]", "is a performance counter, which no CRIU can store"},
    {"anon_inode:bpf", "belongs to BPF, which no CRIU can store here"},
    {"anon_inode:kvm", "belongs to a virtual machine, which no CRIU can store"},
};

// nullptr: none. What the pagers of the processes `paged` have is none.
const Obstacle* obstacle_of(const OpenDescriptor& held, const std::vector<pid_t>& paged) {
  const bool is_paged = std::find(paged.begin(), paged.end(), held.pid) != paged.end();
  for (const auto& kind : kObstacles)
    if (held.target.rfind(kind.target, 0) == 0 && !(kind.of_pagers && is_paged)) return &kind;
  return nullptr;
}

std::string link_target(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t n = readlink(path.c_str(), target, sizeof(target));
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : "";
}

std::vector<OpenDescriptor> descriptors_of(pid_t pid) {
  const SystemFiles files;
  std::vector<OpenDescriptor> out;
  const std::string folder = fmt::format("/proc/{}", pid);
  for (const auto& name : files.names(folder + "/fd")) {
    OpenDescriptor held{pid, static_cast<int>(tools::parse_number(name).value_or(-1)),
                        link_target(folder + "/fd/" + name), 0};
    if (held.number < 0 || held.target.empty()) continue;
    const std::string flags = files.field(folder + "/fdinfo/" + name, "flags").value_or("0");
    held.flags = static_cast<int>(std::strtol(flags.c_str(), nullptr, 8));
    out.push_back(std::move(held));
  }
  return out;
}

bool is_pipe(const OpenDescriptor& held) { return held.target.rfind("pipe:[", 0) == 0; }
bool is_socket(const OpenDescriptor& held) { return held.target.rfind("socket:[", 0) == 0; }
bool reads(const OpenDescriptor& held) { return (held.flags & O_ACCMODE) != O_WRONLY; }
bool writes(const OpenDescriptor& held) { return (held.flags & O_ACCMODE) != O_RDONLY; }

struct Ends {
  bool read = false, write = false;
  int standard = -1;
  const OpenDescriptor* held = nullptr;
  bool lonely() const { return read != write; }
};

// The other ends, "0100007F:1F90" as the kernel writes it, of the connections of a process's network namespace.
std::map<std::string, std::string> established_connections(pid_t pid) {
  constexpr size_t kRemote = 2, kState = 3, kInode = 9;
  std::map<std::string, std::string> out;
  for (const char* name : {"tcp", "tcp6"})
    for (const auto& line :
         tools::split(SystemFiles().read(fmt::format("/proc/{}/net/{}", pid, name)).value_or(""), '\n')) {
      const auto words = tools::split(line, ' ');
      if (words.size() > kInode && words[kState] == "01")
        out[fmt::format("socket:[{}]", words[kInode])] = words[kRemote];
    }
  return out;
}

std::string where(const OpenDescriptor& held) {
  return fmt::format("descriptor {} of process {} ({})", held.number, held.pid, process_name(held.pid));
}

}  // namespace

std::string process_name(pid_t pid) { return SystemFiles().line(fmt::format("/proc/{}/comm", pid)).value_or("?"); }

std::string start_variable(pid_t pid, const std::string& name) {
  for (const auto& entry : tools::split(SystemFiles().read(fmt::format("/proc/{}/environ", pid)).value_or(""), '\0'))
    if (entry.rfind(name + "=", 0) == 0) return entry.substr(name.size() + 1);
  return "";
}

namespace {

// "NSpid", "NSsid": one number for each PID namespace, the outermost first.
std::vector<pid_t> namespace_numbers(pid_t pid, const char* field) {
  std::vector<pid_t> out;
  const std::string text = SystemFiles().field(fmt::format("/proc/{}/status", pid), field).value_or("");
  std::string word;
  for (const char c : text + " ") {
    if (c >= '0' && c <= '9') {
      word += c;
    } else if (!word.empty()) {
      out.push_back(static_cast<pid_t>(std::stol(word)));
      word.clear();
    }
  }
  return out;
}

}  // namespace

std::vector<pid_t> namespace_pids(pid_t pid) { return namespace_numbers(pid, "NSpid"); }

bool has_foreign_session(pid_t pid) {
  const auto sessions = namespace_numbers(pid, "NSsid");
  return !sessions.empty() && sessions.back() == 0;
}

char process_state(pid_t pid) {
  const std::string text = SystemFiles().field(fmt::format("/proc/{}/status", pid), "State").value_or("");
  return text.empty() ? '\0' : text[0];
}

std::vector<std::string> stat_words(const std::string& folder) {
  const auto text = SystemFiles().read(folder + "/stat").value_or("");
  return tools::split(text.substr(std::min(text.rfind(')') + 1, text.size())), ' ');
}

pid_t tracer_of(pid_t pid) {
  const std::string text = SystemFiles().field(fmt::format("/proc/{}/status", pid), "TracerPid").value_or("");
  return static_cast<pid_t>(tools::parse_number(text).value_or(0));
}

bool has_ended(pid_t pid) {
  const char state = process_state(pid);
  return state == '\0' || state == 'Z' || state == 'X';
}

bool is_ending(pid_t pid) {
  constexpr size_t kFlags = 6;
  constexpr unsigned long kExiting = 0x4;  // PF_EXITING of the kernel
  const auto words = stat_words(fmt::format("/proc/{}", pid));
  return words.size() <= kFlags || (std::strtoul(words[kFlags].c_str(), nullptr, 10) & kExiting) != 0;
}

bool has_ended_in_part(pid_t pid) {
  if (process_state(pid) != 'Z') return false;
  const std::string threads = SystemFiles().field(fmt::format("/proc/{}/status", pid), "Threads").value_or("");
  return tools::parse_number(threads).value_or(0) > 1;
}

int wait_for_end(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

ProcessTree read_tree(pid_t root) {
  if (kill(root, 0) != 0 && errno == ESRCH) throw Failure(fmt::format("no process {}", root));
  const SystemFiles files;
  ProcessTree tree;
  tree.root = root;
  tree.command = process_name(root);
  tree.pids = {root};
  for (size_t i = 0; i < tree.pids.size(); ++i) {
    const pid_t pid = tree.pids[i];
    const std::string tasks = fmt::format("/proc/{}/task", pid);
    for (const auto& task : files.names(tasks))
      for (const auto& child : tools::split(files.read(tasks + "/" + task + "/children").value_or(""), ' '))
        if (const auto number = tools::parse_number(child)) tree.pids.push_back(static_cast<pid_t>(*number));
    for (auto& held : descriptors_of(pid)) {
      tree.terminal |= held.target.rfind("/dev/pts/", 0) == 0 || held.target.rfind("/dev/tty", 0) == 0;
      tree.descriptors.push_back(std::move(held));
    }
  }
  if (has_ended(root) && !has_ended_in_part(root)) throw Failure(fmt::format("process {} has ended", root));
  if (access(fmt::format("/proc/{}/fd", root).c_str(), R_OK) != 0)
    throw Failure(fmt::format("process {} ({}) belongs to someone else: run this as root", root, tree.command));
  return tree;
}

std::vector<OutsidePipe> outside_pipes(const ProcessTree& tree) {
  std::map<std::string, Ends> pipes;
  for (const auto& held : tree.descriptors) {
    if (!is_pipe(held)) continue;
    Ends& ends = pipes[held.target];
    ends.read |= reads(held);
    ends.write |= writes(held);
    if (!ends.held) ends.held = &held;
    const bool standard = held.number == 0 ? reads(held) : held.number <= 2 && writes(held);
    if (standard && (ends.standard < 0 || held.number < ends.standard)) ends.standard = held.number;
  }
  std::erase_if(pipes, [](const auto& entry) { return !entry.second.lonely(); });
  if (pipes.empty()) return {};

  std::set<std::string> outside;  // pipes that others hold too
  const std::set<pid_t> inside(tree.pids.begin(), tree.pids.end());
  for (const auto& name : SystemFiles().names("/proc")) {
    const auto pid = tools::parse_number(name);
    if (!pid || inside.count(static_cast<pid_t>(*pid)) > 0) continue;
    for (const auto& number : SystemFiles().names("/proc/" + name + "/fd")) {
      const std::string target = link_target("/proc/" + name + "/fd/" + number);
      if (pipes.count(target) > 0) outside.insert(target);
    }
  }
  std::vector<OutsidePipe> out;
  for (const auto& target : outside) {
    const Ends& ends = pipes[target];
    out.push_back({std::stoull(target.substr(6)), ends.standard, *ends.held});
  }
  return out;
}

bool has_pager_files(const ProcessTree& tree, const std::vector<pid_t>& paged) {
  return std::any_of(tree.descriptors.begin(), tree.descriptors.end(), [&](const OpenDescriptor& held) {
    const Obstacle* const found = obstacle_of(held, paged);
    return found && found->of_pagers;
  });
}

std::string known_obstacle(const ProcessTree& tree, bool tcp, const std::vector<pid_t>& paged) {
  const auto is_paged = [&](pid_t pid) { return std::find(paged.begin(), paged.end(), pid) != paged.end(); };
  for (const auto& held : tree.descriptors)
    if (const Obstacle* const found = obstacle_of(held, paged)) return where(held) + " " + found->reason;
  // The list takes the kernel milliseconds, with the job stopped, however few connections there are.
  const bool sockets = std::any_of(tree.descriptors.begin(), tree.descriptors.end(), is_socket);
  const auto connections = tcp || !sockets ? std::map<std::string, std::string>{} : established_connections(tree.root);
  for (const auto& held : tree.descriptors)
    if (const auto found = connections.find(held.target); found != connections.end()) {
      const std::string& remote = found->second;
      const auto port = std::strtoul(remote.substr(remote.rfind(':') + 1).c_str(), nullptr, 16);
      return fmt::format("{} is an established TCP connection to port {}; close it, or keep it with --tcp-established",
                         where(held), port);
    }
  const SystemFiles files;
  for (const pid_t pid : tree.pids) {
    if (const pid_t tracer = tracer_of(pid); tracer != 0)
      return fmt::format("process {} ({}) is traced by process {}: detach the debugger", pid, process_name(pid),
                         tracer);
    if (has_foreign_session(pid))
      return fmt::format(
          "process {} ({}) is in a session from outside of its PID namespace, which no CRIU can store: start the job "
          "by "
          "ebb run or setsid",
          pid, process_name(pid));
    if (!is_paged(pid) &&
        files.read(fmt::format("/proc/{}/maps", pid)).value_or("").find("anon_inode:[io_uring]") != std::string::npos)
      return fmt::format("process {} ({}) has an io_uring mapped, which no CRIU can store", pid, process_name(pid));
  }
  return "";
}

}  // namespace ebb::snapshot
