// Having CRIU store a process tree: see criu.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>

#include "snapshot/criu.h"
#include "snapshot/criu_log.h"
#include "snapshot/criu_process.h"
#include "snapshot/failure_point.h"
#include "snapshot/files.h"
#include "snapshot/process_tree.h"
#include "snapshot/space.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;
using tools::Fd;

constexpr char kHookVariable[] = "EBB_CRIU_HOOK";
constexpr char kLog[] = "dump.log";
constexpr char kGo = 'g', kStop = 's';
// Deleted files up to this size travel in the images: temporary files of sorts and joins are large.
constexpr char kGhostLimit[] = "4294967295";

// An abstract socket: it is reached from every mount and PID namespace of the job.
struct Address {
  sockaddr_un un = {};
  socklen_t size = 0;
  explicit Address(const std::string& name) {
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path + 1, name.data(), std::min(name.size(), sizeof(un.sun_path) - 1));
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + std::min(name.size(), sizeof(un.sun_path) - 1));
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&un); }
};

// Where CRIU's action script asks whether the tree may end.
class Question {
 public:
  Question() : socket_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance)) throw Failure("cannot get random numbers");
    name_ = fmt::format("ebb-criu-{}-{:016x}", getpid(), chance);
    const Address address(name_);
    if (!socket_.valid() || bind(socket_.get(), address.get(), address.size) != 0 || listen(socket_.get(), 1) != 0)
      throw Failure(fmt::format("cannot make a socket: {}", error_text(errno)));
  }
  const std::string& name() const { return name_; }

  // Readable when it was asked and waits for the answer.
  Waited wait(pid_t criu, const std::function<std::optional<pid_t>()>& missed) {
    for (;;) {
      const Waited waited = wait_beside_criu(criu, socket_.get(), missed);
      if (!waited.readable || accept_ours()) return waited;
    }
  }
  void answer(char word) {
    send(asker_.get(), &word, 1, MSG_NOSIGNAL);
    asker_.reset();
  }

 private:
  // Anybody can connect to an abstract socket; only our own user may decide.
  bool accept_ours() {
    asker_.reset(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred peer = {};
    socklen_t size = sizeof(peer);
    return asker_.valid() && getsockopt(asker_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == geteuid();
  }

  Fd socket_, asker_;
  std::string name_;
};

std::string own_program() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
  return {path, static_cast<size_t>(n > 0 ? n : 0)};
}

Fd open_folder(const std::string& path) {
  Fd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) throw Failure(fmt::format("cannot open {}: {}", path, error_text(errno)));
  return folder;
}

bool in_own_namespace(pid_t pid) { return namespace_pids(pid).size() > namespace_pids(getpid()).size(); }

CriuStart dump_start(const DumpRequest& request, const Fd& images, const Fd& work, const std::string& question) {
  CriuStart start;
  start.arguments = common_options("dump", kLog);
  // Folders are handed over open: in the job's mount namespace their paths may lead elsewhere.
  for (const auto& word :
       {std::string("-t"), std::to_string(namespace_pids(request.root).back()), std::string("-D"),
        own_path(images.get()), std::string("-W"), own_path(work.get()), std::string("--ghost-limit"),
        std::string(kGhostLimit), std::string("--link-remap"), std::string("--action-script"), own_program()})
    start.arguments.push_back(word);
  if (request.leave_running) start.arguments.push_back("--leave-running");
  if (request.tcp_established) start.arguments.push_back("--tcp-established");
  start.environment = {fmt::format("{}={}", kHookVariable, question)};
  start.descriptors = {images.get(), work.get()};
  start.own_session = true;
  if (in_own_namespace(request.root)) start.namespaces_of = request.root;
  return start;
}

// CRIU kills the tree and does not look whether it is gone; who restores it at once needs the PIDs.
class Ends {
 public:
  explicit Ends(pid_t root) {
    for (const pid_t pid : read_tree(root).pids) ends_.emplace_back(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  }
  // All of it is gone already.
  bool over() const {
    for (const auto& end : ends_) {
      pollfd one = {end.get(), POLLIN, 0};
      if (end.valid() && poll(&one, 1, 0) != 1) return false;
    }
    return true;
  }
  void wait() const {
    for (const auto& end : ends_) {
      pollfd one = {end.get(), POLLIN, 0};
      while (end.valid() && poll(&one, 1, -1) < 0 && errno == EINTR) {
      }
    }
  }

 private:
  std::vector<Fd> ends_;
};

// One that was killed while CRIU held it. CRIU asks for the end of its first thread, of which the kernel tells only
// when the ends of the others have been asked for.
std::optional<pid_t> killed_while_held(pid_t root) {
  if (process_state(root) == '\0') return std::nullopt;
  for (const pid_t pid : read_tree(root).pids)
    if (process_state(pid) == 'Z' && tracer_of(pid) != 0) return pid;
  return std::nullopt;
}

[[noreturn]] void fail_for_space(const std::string& text, const std::string& images) {
  throw Failure(fmt::format("{}; {}: remove snapshots (ebb snapshots prune) or name another directory (EBB_SNAPSHOTS)",
                            text, free_space(images)));
}

[[noreturn]] void fail(const std::string& images, WorkFolder* work) {
  try {
    fail_with_log("the snapshot is refused and the job goes on", kLog, work);
  } catch (const Failure& failure) {
    const std::string text = failure.what();
    if (text.find(" is full") == std::string::npos) throw;
    fail_for_space(text, images);
  }
}

[[noreturn]] void fail_killed(int signal, const std::string& images) {
  const std::string text =
      fmt::format("the snapshot is refused and the job goes on: CRIU was killed (signal {})", signal);
  // A file that it has mapped found no space.
  if (signal == SIGBUS) fail_for_space(text + ", as it is where a file system is full", images);
  throw Failure(text + "; try again");
}

// Nothing: CRIU is to try again.
std::optional<DumpStatistics> try_to_dump(const DumpRequest& request) {
  WorkFolder work;
  const Fd images_folder = open_folder(request.images);
  Question question;
  CriuStart start = dump_start(request, images_folder, work.folder(), question.name());
  start.output = work.path() + "/" + kCriuOutput;
  failure_point("start criu");
  const pid_t child = start_criu(start);
  failure_point("criu works");

  std::exception_ptr refusal;
  std::optional<Ends> ends;
  const auto missed = [&] { return killed_while_held(request.root); };
  Waited waited = question.wait(child, missed);
  const bool asked = waited.readable;
  if (asked) {
    try {
      if (!request.leave_running) ends.emplace(request.root);
      failure_point("frozen");
      if (request.on_frozen) request.on_frozen();
      failure_point("published");
    } catch (...) {
      refusal = std::current_exception();
    }
    question.answer(refusal ? kStop : kGo);
    // Where CRIU ends the job, all of its processes are as if killed.
    const bool all_end = !refusal && !request.leave_running;
    if (!all_end) waited = wait_beside_criu(child, -1, missed);
  }
  failure_point("answered");
  const int status = wait_for_end(child);
  failure_point("criu ended");
  if (refusal) std::rethrow_exception(refusal);
  if (waited.missed && asked) return DumpStatistics{};  // all was stored, and the others go on
  const auto again = [&] { return !asked && request.again && request.again(); };
  if (waited.missed) {
    if (again()) return std::nullopt;
    throw Failure(
        fmt::format("the snapshot is refused and the job goes on: process {} of it was killed meanwhile; try "
                    "again",
                    *waited.missed));
  }
  // Where the end of the tree ends its PID namespace, CRIU is killed with it, its work done.
  const bool ended_with_namespace = start.namespaces_of != 0 && ends && ends->over();
  if (WIFSIGNALED(status) && !ended_with_namespace) fail_killed(WTERMSIG(status), request.images);
  if ((!WIFEXITED(status) || WEXITSTATUS(status) != 0) && !ended_with_namespace) {
    if (criu_cause_passes(tools::SystemFiles().read(work.path() + "/" + kLog).value_or("")) && again())
      return std::nullopt;
    fail(request.images, &work);
  }
  if (ends) ends->wait();
  const auto numbers = read_statistics(work.path() + "/stats-dump", 1, {1, 2, 3, 4, 7});
  return DumpStatistics{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
}

// Of processes that are not there at the next try.
void remove_images(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove(entry.path());
}

}  // namespace

DumpStatistics dump(const DumpRequest& request) {
  if (namespace_pids(request.root).empty()) throw Failure(fmt::format("no process {}", request.root));
  for (;;) {
    if (const auto done = try_to_dump(request)) return *done;
    remove_images(request.images);
  }
}

int action_script() {
  const char* name = std::getenv(kHookVariable);
  const char* action = std::getenv("CRTOOLS_SCRIPT_ACTION");
  if (!name || !action) return -1;
  if (std::strcmp(action, "post-dump") != 0) return 0;
  const Fd link(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const Address address(name);
  if (!link.valid() || connect(link.get(), address.get(), address.size) != 0) return 1;
  char word = kStop;
  ssize_t n;
  do n = recv(link.get(), &word, 1, 0);
  while (n < 0 && errno == EINTR);
  return n == 1 && word == kGo ? 0 : 1;
}

}  // namespace ebb::snapshot
