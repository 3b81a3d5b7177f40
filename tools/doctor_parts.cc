// `ebb doctor`: the parts that Ebbtide stands on: its own library, memkind, libpmem2, libnuma, CRIU.
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <memory>

#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/preload.h"

namespace ebb::tools {
namespace {

// From 6.13 on the vDSO looks in a way that older CRIUs cannot parse.
constexpr ReleaseNumber kNewVdsoKernel{6, 13};
constexpr ReleaseNumber kCriuForNewVdso{4, 1};

Check own_library() {
  Check check{"library", "libebbtide.so", Health::kOk, "", "", ""};
  try {
    check.detail = find_library();
  } catch (const Failure& failure) {
    check.health = Health::kFail;
    check.detail = "not found beside this command, or in an unusable place";
    check.lost = "everything: there is nothing to preload";
    check.mend = failure.what();
    for (char& c : check.mend)
      if (c == '\n') c = ' ';
  }
  return check;
}

Check shared_library(const char* id, const char* title, const char* file, const char* lost, const char* package) {
  Check check{id, title, Health::kOk, "", "", ""};
  // Stays loaded: some of these start threads or register handlers that must not lose their code.
  if (dlopen(file, RTLD_LAZY | RTLD_LOCAL)) {
    check.detail = std::string(file) + " loads";
  } else {
    check.health = Health::kWarn;
    const char* reason = dlerror();
    check.detail = reason ? reason : "does not load";
    check.lost = lost;
    check.mend = std::string("apt install ") + package;
  }
  return check;
}

// What `criu --version` says, or "".
std::string criu_version() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("criu --version 2>/dev/null", "re"), &pclose);
  char line[256] = {};
  if (!pipe || !fgets(line, sizeof(line), pipe.get())) return "";
  const std::string text = line;  // "Version: 4.1.1"
  const size_t digit = text.find_first_of("0123456789");
  return digit == std::string::npos ? "" : trimmed(text.substr(digit));
}

Check criu(nlohmann::json* facts) {
  Check check{"criu", "CRIU", Health::kOk, "", "snapshots, restore and clone; running in a budget does not need it",
              ""};
  const std::string version = criu_version();
  utsname name = {};
  uname(&name);
  const bool new_vdso = parse_release(name.release) >= kNewVdsoKernel;
  (*facts)["criu_version"] = version.empty() ? nlohmann::json(nullptr) : nlohmann::json(version);
  if (version.empty()) {
    check.health = Health::kWarn;
    check.detail = "not found in PATH";
    check.mend =
        new_vdso
            ? "install CRIU 4.1 or newer (Debian 13: apt install criu; Debian 12's 3.17 is too old for this kernel)"
            : "apt install criu";
  } else if (new_vdso && parse_release(version) < kCriuForNewVdso) {
    check.health = Health::kWarn;
    check.detail = fmt::format("{} cannot dump on Linux {}", version, name.release);
    check.mend = "install CRIU 4.1 or newer (Debian 13's package)";
  } else {
    check.detail = fmt::format("{}, suits this kernel", version);
  }
  return check;
}

}  // namespace

void check_parts(const SystemFiles&, Checks* checks, nlohmann::json* facts) {
  checks->push_back(own_library());
  checks->push_back(shared_library("memkind", "memkind", "libmemkind.so.0",
                                   "the tiered heap: only large maps are managed", "libmemkind0"));
  checks->push_back(
      shared_library("libpmem2", "libpmem2", "libpmem2.so.1", "byte-addressable tiers (DAX)", "libpmem2"));
  checks->push_back(shared_library("libnuma", "libnuma", "libnuma.so.1", "NUMA nodes as tiers", "libnuma1"));
  checks->push_back(criu(facts));
}

}  // namespace ebb::tools
