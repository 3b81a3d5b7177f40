// Finding CRIU and asking what it can do: see criu.h.
#include "snapshot/criu.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <climits>
#include <cstdlib>

#include "snapshot/criu_log.h"
#include "snapshot/criu_process.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

bool is_program(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

std::string own_folder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
  const std::string text(path, static_cast<size_t>(n > 0 ? n : 0));
  return text.substr(0, text.rfind('/'));
}

// What CRIU prints with these arguments; its exit code in `code`.
std::string ask_criu(const std::vector<std::string>& arguments, int* code) {
  const WorkFolder work;
  CriuStart start;
  start.arguments = arguments;
  start.output = work.path() + "/" + kCriuOutput;
  const int status = wait_for_end(start_criu(start));
  *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return tools::SystemFiles().read(start.output).value_or("");
}

}  // namespace

std::string find_criu() {
  if (const char* named = std::getenv("EBB_CRIU"); named && *named) return named;
  const std::string folder = own_folder();
  for (const char* place : {"/../lib/ebbtide/criu/criu", "/../criu/criu"})
    if (is_program(folder + place)) return folder + place;
  const char* path = std::getenv("PATH");
  // Debian puts it where only root looks.
  for (const auto& part : tools::split(fmt::format("{}:/usr/sbin:/sbin", path ? path : ""), ':'))
    if (is_program(part + "/criu")) return part + "/criu";
  return "";
}

void require_privilege() {
  const auto text = tools::SystemFiles().field("/proc/self/status", "CapEff").value_or("0");
  const uint64_t effective = std::strtoull(text.c_str(), nullptr, 16);
  const auto has = [&](int bit) { return (effective >> bit & 1) != 0; };
  if (has(CAP_SYS_ADMIN) || (has(CAP_CHECKPOINT_RESTORE) && has(CAP_SYS_PTRACE))) return;
  // Or the command itself was given them (setcap).
  if (getxattr(find_criu().c_str(), "security.capability", nullptr, 0) > 0) return;
  throw tools::Failure(
      fmt::format("this takes root, or the capabilities CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE, which user {} does "
                  "not have here: sudo ebb ...; see: ebb doctor",
                  geteuid()));
}

CriuFacts probe_criu() {
  CriuFacts facts;
  facts.path = find_criu();
  if (facts.path.empty()) {
    facts.trouble = "not found";
    return facts;
  }
  int code = 0;
  const std::string version = ask_criu({"--version"}, &code);  // "Version: 4.1.1"
  const size_t digit = version.find_first_of("0123456789");
  if (code != 0 || digit == std::string::npos) {
    facts.trouble = fmt::format("{} does not start", facts.path);
    return facts;
  }
  facts.version = tools::trimmed(version.substr(digit, version.find('\n', digit) - digit));
  const std::string said = ask_criu({"check", "--no-default-config"}, &code);
  if (code != 0) {
    facts.trouble = criu_cause(said);
    if (facts.trouble.empty()) facts.trouble = "`criu check` fails";
  }
  return facts;
}

}  // namespace ebb::snapshot
