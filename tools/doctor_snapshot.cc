// `ebb doctor`: what snapshots, restore and clone stand on: CRIU, the right to use it, PID namespaces.
#include <fmt/format.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "snapshot/criu.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/doctor.h"

namespace ebb::tools {
namespace {

// From 6.13 on the vDSO looks in a way that older CRIUs cannot parse.
constexpr ReleaseNumber kNewVdsoKernel{6, 13};
constexpr ReleaseNumber kCriuForNewVdso{4, 1};
// Older ones forget that memory is wiped in children (MADV_WIPEONFORK) and cannot store guard pages that are no
// mappings of their own (MADV_GUARD_INSTALL, which newer C libraries use for stacks).
constexpr ReleaseNumber kCriuForMarks{4, 2};
constexpr char kLost[] = "snapshots, restore and clone; running in a budget does not need it";

// Bits of /proc/self/status CapEff.
constexpr int kSysPtrace = 19, kSysAdmin = 21, kCheckpointRestore = 40;

Check criu(const snapshot::CriuFacts& found, nlohmann::json* facts) {
  Check check{"criu", "CRIU", Health::kOk, "", kLost, ""};
  utsname name = {};
  uname(&name);
  const bool new_vdso = parse_release(name.release) >= kNewVdsoKernel;
  (*facts)["criu_version"] = found.version.empty() ? nlohmann::json(nullptr) : nlohmann::json(found.version);
  (*facts)["criu_path"] = found.path.empty() ? nlohmann::json(nullptr) : nlohmann::json(found.path);
  const bool too_old = !found.version.empty() && new_vdso && parse_release(found.version) < kCriuForNewVdso;
  if (found.trouble.empty() && !too_old) {
    const bool forgets = parse_release(found.version) < kCriuForMarks;
    check.detail = fmt::format("{}, suits this kernel ({}){}", found.version, found.path,
                               forgets ? "; memory with MADV_WIPEONFORK or MADV_GUARD_INSTALL takes CRIU 4.2" : "");
    return check;
  }
  check.health = Health::kWarn;
  check.detail = found.version.empty() ? found.trouble
                 : too_old             ? fmt::format("{} cannot dump on Linux {}", found.version, name.release)
                                       : fmt::format("{} ({}): {}", found.version, found.path, found.trouble);
  check.mend = new_vdso
                   ? "./dev setup snapshot, or install CRIU 4.1 or newer (EBB_CRIU=FILE names one; Debian 12's 3.17 is "
                     "too old for this kernel)"
                   : "apt install criu, or name one: EBB_CRIU=FILE";
  return check;
}

Check privilege(const SystemFiles& files) {
  Check check{"criu_privilege", "CRIU privilege", Health::kOk, "", kLost, ""};
  const std::string text = files.field("/proc/self/status", "CapEff").value_or("0");
  const uint64_t effective = std::strtoull(text.c_str(), nullptr, 16);
  const auto has = [&](int bit) { return (effective >> bit & 1) != 0; };
  if (has(kSysAdmin) || (has(kCheckpointRestore) && has(kSysPtrace))) {
    check.detail = has(kSysAdmin) ? "CAP_SYS_ADMIN" : "CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE";
  } else {
    check.health = Health::kWarn;
    check.detail = "neither root nor CAP_CHECKPOINT_RESTORE";
    check.mend =
        "sudo ebb snapshot ..., or in a container: docker run --cap-add CHECKPOINT_RESTORE --cap-add SYS_PTRACE "
        "--cap-add SYS_ADMIN";
  }
  return check;
}

// A process in a PID and a mount namespace of its own, made and gone at once. 0 or errno.
int try_namespaces() {
  const long child = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, nullptr,
                             nullptr, nullptr, nullptr);
  if (child < 0) return errno;
  if (child == 0) _exit(0);
  snapshot::wait_for_end(static_cast<pid_t>(child));
  return 0;
}

Check namespaces() {
  Check check{"pid_namespaces", "PID namespaces", Health::kOk, "clones can have PIDs of their own", "", ""};
  if (const int error = try_namespaces(); error != 0) {
    check.health = Health::kWarn;
    check.detail = error_text(error);
    check.lost = "ebb clone: copies need PIDs of their own";
    check.mend = error == EPERM ? "sudo ebb clone ..., or docker run --cap-add SYS_ADMIN"
                                : "sysctl -w user.max_pid_namespaces=10000";
  }
  return check;
}

}  // namespace

void check_snapshot(const SystemFiles& files, Checks* checks, nlohmann::json* facts) {
  snapshot::CriuFacts found;
  try {
    found = snapshot::probe_criu();
  } catch (const Failure& failure) {
    found.trouble = failure.what();
  }
  Check line = criu(found, facts);
  if (line.health == Health::kOk) line.lost.clear();
  checks->push_back(std::move(line));
  line = privilege(files);
  if (line.health == Health::kOk) line.lost.clear();
  checks->push_back(std::move(line));
  checks->push_back(namespaces());
}

}  // namespace ebb::tools
