// `ebb doctor`: the kernel and our rights: userfaultfd and io_uring are probed for real, not read from a version
// number.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cerrno>

#include "os/linux_pages.h"
#include "os/uffd_abi.h"
#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/fd.h"

namespace ebb::tools {
namespace {

constexpr ReleaseNumber kOldestForPaging{6, 8};
constexpr int kCapSysPtrace = 19, kCapCheckpointRestore = 40;
constexpr char kNothingPaged[] = "nothing is paged: programs run as without Ebbtide, in as much DRAM as they want";

Check kernel_version(nlohmann::json* facts) {
  utsname name = {};
  uname(&name);
  Check check{"kernel", "kernel", Health::kOk, fmt::format("Linux {}", name.release), "", ""};
  (*facts)["kernel_release"] = name.release;
  if (parse_release(name.release) < kOldestForPaging) {
    check.health = Health::kFail;
    check.lost = std::string("UFFDIO_MOVE (Linux 6.8): ") + kNothingPaged;
    check.mend = "boot a kernel from 6.8 on; Debian 12: apt install -t bookworm-backports linux-image-amd64";
  }
  return check;
}

Check userfaultfd(const SystemFiles& files, nlohmann::json* facts) {
  Check check{"userfaultfd", "userfaultfd", Health::kOk, "", kNothingPaged, ""};
  uint64_t features = 0;
  const auto opened = open_userfaultfd(&features);
  const Fd fd(opened.ok() ? opened.value() : -1);
  (*facts)["userfaultfd_features"] = features;
  if (opened.ok()) {
    const bool poison = features & abi::kFeaturePoison;
    check.detail = fmt::format("MISSING, WP, MOVE, THREAD_ID{}, faults in kernel mode", poison ? ", POISON" : "");
    return check;
  }
  check.health = Health::kFail;
  const int error = opened.error().value;
  if (error == EINVAL && features != 0) {
    std::vector<std::string> missing;
    if (!(features & abi::kFeatureMove)) missing.emplace_back("MOVE (Linux 6.8)");
    if (!(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)) missing.emplace_back("WP (Linux 5.7)");
    if (!(features & UFFD_FEATURE_THREAD_ID)) missing.emplace_back("THREAD_ID (Linux 4.14)");
    check.detail = fmt::format("the kernel lacks {}", fmt::join(missing, ", "));
    check.mend = "boot a kernel from 6.8 on";
    return check;
  }
  check.detail = error_text(error);
  if (error == ENOSYS) {
    check.mend = "boot a kernel built with CONFIG_USERFAULTFD=y (all distributions' are)";
  } else if (files.field("/proc/self/status", "Seccomp") == "2") {
    check.mend =
        "a seccomp filter is in force (container): allow userfaultfd in the profile, or give the container "
        "--device /dev/userfaultfd and the right to open it";
  } else {
    check.mend =
        "setfacl -m u:$USER:rw /dev/userfaultfd   (as root; a udev rule keeps it), or for everyone: "
        "sysctl -w vm.unprivileged_userfaultfd=1";
  }
  return check;
}

Check io_uring(const SystemFiles& files) {
  Check check{"io_uring", "io_uring", Health::kOk, "works", std::string("the file tier: ") + kNothingPaged, ""};
  io_uring_params parameters = {};
  // As the pager's ring: one submitter, completions when it asks (Linux 6.1).
  constexpr unsigned kSingleIssuer = 1u << 12, kDeferTaskrun = 1u << 13;
  parameters.flags = kSingleIssuer | kDeferTaskrun;
  const Fd ring(static_cast<int>(syscall(SYS_io_uring_setup, 8, &parameters)));
  if (ring.valid()) return check;
  const int error = errno;
  check.health = Health::kFail;
  const auto disabled = files.number("/proc/sys/kernel/io_uring_disabled").value_or(0);
  check.detail = fmt::format("{} (kernel.io_uring_disabled = {})", error_text(error), disabled);
  if (disabled != 0)
    check.mend = "sysctl -w kernel.io_uring_disabled=0";
  else if (files.field("/proc/self/status", "Seccomp") == "2")
    check.mend = "a seccomp filter is in force (container): allow io_uring_setup, io_uring_enter and io_uring_register";
  else if (error == ENOMEM)
    check.mend = "raise the locked-memory limit: ulimit -l unlimited";
  else
    check.mend = "boot a kernel from 6.1 on, built with CONFIG_IO_URING=y";
  return check;
}

Check capabilities(const SystemFiles& files) {
  const std::string mask = files.field("/proc/self/status", "CapEff").value_or("0");
  const uint64_t bits = std::strtoull(mask.c_str(), nullptr, 16);
  const auto has = [&](int bit) { return (bits >> bit & 1) != 0; };
  Check check{"capabilities", "capabilities", Health::kOk, "", "", ""};
  check.detail = fmt::format("CAP_SYS_PTRACE {}, CAP_CHECKPOINT_RESTORE {}", has(kCapSysPtrace) ? "yes" : "no",
                             has(kCapCheckpointRestore) ? "yes" : "no");
  if (!has(kCapCheckpointRestore)) {
    check.health = Health::kWarn;
    check.lost = "snapshots; paging does not need it";
    check.mend = "setcap cap_checkpoint_restore+eip on criu, or run as root";
  }
  return check;
}

}  // namespace

void check_kernel(const SystemFiles& files, Checks* checks, nlohmann::json* facts) {
  checks->push_back(kernel_version(facts));
  checks->push_back(userfaultfd(files, facts));
  checks->push_back(io_uring(files));
  checks->push_back(capabilities(files));
}

}  // namespace ebb::tools
