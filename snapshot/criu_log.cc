// What went wrong, from CRIU's own log: see criu_log.h.
#include "snapshot/criu_log.h"

#include <fmt/format.h>
#include <optional>
#include <regex>
#include <vector>

#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

// A line of CRIU's and what it means; $1, $2: what the line names.
struct Meaning {
  const char* pattern;
  const char* text;
  bool passes = false;  // by itself
};

constexpr Meaning kMeanings[] = {
    {R"(Connected TCP socket, consider using)",
     "the job has an established TCP connection; close it, or keep it with --tcp-established"},
    {R"(Can't get 1:16 opt)", "the job has a TCP or UDP socket, which this CRIU cannot store on this kernel; close it"},
    {R"(ctty inheritance detected)",
     "a process of the job keeps /dev/tty open, and the session that this terminal belongs to is not part of the job"},
    {R"(Can't dump half of stream unix connection)",
     "the job has a unix socket whose other end is in a process outside; close it or snapshot both processes"},
    {R"(External socket is used)", "the job has a unix socket whose other end is in a process outside; close it"},
    {R"(Unix socket (\S+) .*without peer)", "unix socket $1 leads to a process outside the job"},
    {R"(unix: .*[Ii]n-flight connection)",
     "a connection to one of the job's unix sockets is not accepted yet; try again", true},
    {R"(io_uring|Unknown shit .*io_uring)", "the job has an io_uring open, which no CRIU can store", true},
    {R"(Can't splice all pages to pipe)",
     "the job has guard pages that are no mappings of their own (MADV_GUARD_INSTALL), which takes CRIU 4.2 or newer"},
    {R"(Task (\d+) is in unexpected state: 9$|si_pid=(\d+) si_status=9)",
     "process $1$2 of the job was killed meanwhile; try again", true},
    {R"((fstatat|ptrace).*: No such process)", "a process of the job ended meanwhile; try again", true},
    {R"(Zombies with threads)",
     "the first thread of a process of the job has ended and others have not, which CRIU cannot store", true},
    {R"(userfaultfd)", "the job has a userfaultfd open, which no CRIU can store", true},
    {R"(Can't lookup mount=\d+ for fd=(\d+) path=(.+))",
     "descriptor $1 is $2, opened outside of the job's mount namespace (its container): CRIU cannot find it. Give the "
     "job a pipe instead: ... 2>&1 | cat >FILE"},
    {R"(Can't dump file (\d+) of that type \[(\d+)\] \((.*)\))", "descriptor $1 is $3, which CRIU cannot store"},
    {R"(Unsupported (socket|file|map|inode).*)", "CRIU does not know: $0"},
    {R"(Can't handle non-regular mapping on (\d+)'s map (\S+))",
     "process $1 maps a device at $2, which CRIU cannot store"},
    {R"(SysV shmem map|sysvipc shmem .*not in ipcns)",
     "the job uses System V shared memory of the whole machine; run it in an IPC namespace of its own"},
    {R"(Found pty.*shell-job|tty.*[Cc]onsider using .*shell-job|Found dangling tty)",
     "the job's terminal belongs to a process outside"},
    {R"(Standard stdin is not a tty|no tty.*stdin|Can't restore.*stdin isn't tty)",
     "the job had a terminal; restore it on one"},
    {R"(Can't dump ghost file (\S+) of (\d+) size.*)", "the deleted file $1 of $2 bytes is too large to be stored"},
    {R"(Can't create link-remap file for (.*))",
     "file $1 was deleted while it has other names; CRIU cannot find it again"},
    {R"(File (\S+) has bad size (\d+) \(expect (\d+)\))", "$1 has $2 bytes instead of $3"},
    {R"(File (\S+) has bad mode (\S+) \(expect (\S+)\))", "the permissions of $1 changed"},
    {R"(File (\S+) has bad build-ID.*)", "$1 is another build than it was"},
    {R"(Can't open file (\S+).*: No such file or directory)", "$1 is missing"},
    {R"(Can't open file (.+) on restore: Too many open files)",
     "cannot open $1: too many open files; raise their limit (ulimit -Hn, or root with CAP_SYS_RESOURCE)"},
    {R"(Can't open file (.+) on restore: (.*))", "cannot open $1: $2"},
    {R"(Can't fork for (\d+): File exists)", "PID $1 is in use"},
    {R"(Pid (\d+) do not match expected)", "the PIDs of the job are in use"},
    {R"(Can't seize.* (\d+): Operation not permitted|Unable to interrupt task: (\d+) \(Operation not permitted\))",
     "process $1 may not be traced: run this as root, or end its debugger"},
    {R"(task is being traced|.*already traced by.*)", "a process of the job is being traced: detach the debugger"},
    {R"(Can't freeze|[Tt]imeout reached|freeze.*timed out)",
     "the job's processes do not stop: one is stuck in the kernel (uninterruptible)"},
    {R"(File lock.*|Some file locks are hold by dumping tasks)", "the job holds file locks that CRIU cannot store"},
    {R"(vdso|vDSO)", "this CRIU cannot read this kernel's vDSO: it takes CRIU 4.1 or newer"},
    {R"(Can't get rlimit \d+: Operation not permitted)",
     "a process of the job runs as another user; to read its limits takes CAP_SYS_RESOURCE, which root of a "
     "container may not have (docker run --cap-add SYS_RESOURCE)"},
    {R"(Unable to drop capability)",
     "the job may never have some capabilities (its bounding set), and to restore that takes root or CAP_SETPCAP"},
    {R"(CAP_|Operation not permitted.*(prctl|caps|ns)|You need to be root)",
     "no privilege: it takes root or CAP_CHECKPOINT_RESTORE with CAP_SYS_PTRACE"},
    {R"(Can't write .*: No space left|No space left on device)", "the device that holds the snapshot is full"},
    {R"(inotify|fanotify)", "a file watch of the job cannot be stored: the watched file cannot be found by name"},
    {R"(The root process (\d+) is not a session leader)", "process $1 is no session leader"},
};

// Trouble that CRIU lives with, told as errors all the same.
constexpr const char* kHarmless[] = {
    "Can't setup RLIMIT_NOFILE for self",
    "Can't keep kdat cache",
    "Dumping FAILED",
    "Restoring FAILED",
};

// "(00.12) 4711: Error (criu/files.c:12): text" without its head; nothing for other lines.
std::optional<std::string> error_of(const std::string& line) {
  const size_t at = line.find("Error (");
  if (at == std::string::npos) return std::nullopt;
  const size_t end = line.find("): ", at);
  if (end == std::string::npos) return std::nullopt;
  for (const char* harmless : kHarmless)
    if (line.find(harmless) != std::string::npos) return std::nullopt;
  return line.substr(end + 3);
}

struct Cause {
  std::string text;
  bool passes = false;
};

Cause cause_of(const std::string& log) {
  std::vector<std::string> errors;
  for (const auto& line : tools::split(log, '\n'))
    if (auto error = error_of(line)) errors.push_back(std::move(*error));
  for (const auto& error : errors)
    for (const auto& meaning : kMeanings) {
      std::smatch match;
      if (std::regex_search(error, match, std::regex(meaning.pattern)))
        return {match.format(meaning.text), meaning.passes};
    }
  if (errors.empty()) return {};
  return {fmt::format("CRIU says: {}", errors.front())};
}

}  // namespace

std::string criu_cause(const std::string& log) { return cause_of(log).text; }

bool criu_cause_passes(const std::string& log) { return cause_of(log).passes; }

}  // namespace ebb::snapshot
