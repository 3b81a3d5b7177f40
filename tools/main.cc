// The command `ebb`: picks the subcommand and turns every failure into one line and an exit code.
#include <fcntl.h>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "snapshot/criu.h"
#include "tools/clone_command.h"
#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/restore_command.h"
#include "tools/run_command.h"
#include "tools/snapshot_command.h"
#include "tools/snapshots_command.h"

namespace ebb::tools {
namespace {

constexpr char kHelp[] =
    "Ebbtide runs unmodified programs in less DRAM than they need.\n"
    "\n"
    "Usage:\n"
    "  ebb run [options] [--] COMMAND [ARGUMENT...]   run a command in a DRAM budget\n"
    "  ebb snapshot NAME|PID [TAG] [options]          freeze a running job, with all its processes, into a snapshot\n"
    "  ebb restore TAG [options]                      bring it back as it was\n"
    "  ebb clone TAG [-n N] [options]                 start copies of it\n"
    "  ebb doctor [--json]                            say what this machine can do, and mend it\n"
    "  ebb snapshots ls|show|verify|rm|prune|...      look after the snapshots\n"
    "  ebb help [COMMAND]                             this, or the help of a command\n"
    "  ebb --version\n"
    "\n"
    "Example:\n"
    "  ebb run --dram 8G --slow file:/scratch/me -- Rscript analysis.R\n"
    "\n"
    "Exit codes: the program's own; 128+n when signal n killed it; 125 when Ebbtide failed,\n"
    "126 when the command cannot be executed, 127 when there is no such command.\n";

int dispatch(std::vector<std::string> arguments) {
  if (arguments.empty()) throw Failure("no command given; see: ebb help");
  const std::string word = arguments[0];
  arguments.erase(arguments.begin());
  if (word == "run") return run_command(arguments);
  if (word == "snapshot") return snapshot_command(arguments);
  if (word == "restore") return restore_command(arguments);
  if (word == "clone") return clone_command(arguments);
  if (word == "doctor") return doctor_command(arguments);
  if (word == "snapshots") return snapshots_command(arguments);
  if (word == "--version" || word == "-V") {
    write_all(STDOUT_FILENO, "ebb " + version() + "\n");
    return kExitOk;
  }
  if (word == "help" && !arguments.empty()) return dispatch({arguments[0], "--help"});
  if (word == "help" || word == "--help" || word == "-h") {
    write_all(STDOUT_FILENO, kHelp);
    return kExitOk;
  }
  throw Failure((word[0] == '-' ? "unknown option " : "unknown command ") + shell_quoted(word) + "; see: ebb help");
}

// A closed standard descriptor would go to the next file that we open. The program still finds it closed.
void fill_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR | O_CLOEXEC);
}

int guarded_main(int argc, char** argv) {
  const Console console(Verbosity::kNormal);
  try {
    return dispatch({argv + std::min(argc, 1), argv + argc});
  } catch (const Failure& failure) {
    console.error(failure.what());
    return failure.exit_code();
  } catch (const std::exception& e) {
    console.error(std::string("unexpected: ") + e.what());
    return kExitOurs;
  }
}

}  // namespace
}  // namespace ebb::tools

int main(int argc, char** argv) {
  if (argc == 1)
    if (const int code = ebb::snapshot::action_script(); code >= 0) return code;
  ebb::tools::fill_standard_descriptors();
  return ebb::tools::guarded_main(argc, argv);
}
