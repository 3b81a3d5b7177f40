// One run of the command `criu`: its environment, its descriptors. For criu*.cc only.
#pragma once

#include <sys/types.h>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/work_folder.h"
#include "tools/fd.h"

namespace ebb::snapshot {

// The file in CRIU's work folder that gets its standard output and error output.
inline constexpr char kCriuOutput[] = "criu.out";

struct CriuStart {
  std::vector<std::string> arguments;    // after the word `criu`
  std::vector<int> descriptors;          // that it inherits under their numbers
  int input = -1;                        // its descriptor 0; -1: /dev/null
  std::string output;                    // file for its descriptors 1 and 2
  std::vector<std::string> environment;  // "NAME=value", over ours without what is preloaded
  bool own_session = false;              // out of reach of the terminal's signals
  bool ends_with_us = false;             // killed when this process ends
  pid_t namespaces_of = 0;               // run in the PID, mount, IPC and UTS namespaces of this process
};

// Starts CRIU as a child of this process and returns its PID, for wait_for_end(). Failure when there is no CRIU or no
// process.
pid_t start_criu(const CriuStart& start);

// What ended a wait: CRIU, which is yet to be asked for by wait_for_end(), or a descriptor that can be read.
struct Waited {
  bool readable = false;
  std::optional<pid_t> missed;  // a process of the job, for whose sake CRIU was killed: it would have waited for ever
};
// Waits for the end of `criu`, a child, and for `descriptor` unless it is -1. CRIU does not notice each end of a
// process of the job that somebody kills meanwhile (the kernel, for want of memory), and waits for it: `missed` looks
// for one, and when it has found some for three seconds, CRIU is killed. Failure when CRIU cannot be watched.
Waited wait_beside_criu(pid_t criu, int descriptor, const std::function<std::optional<pid_t>()>& missed);

// The options that every dump and restore gets.
std::vector<std::string> common_options(const std::string& action, const std::string& log);

// Ends with a Failure: `what` ("cannot take a snapshot"), the cause from the log in `work`, and the log's path. Keeps
// `work`.
[[noreturn]] void fail_with_log(const std::string& what, const std::string& log, WorkFolder* work);

// Field `field` of each of `numbers` of the statistics file that CRIU left in `work`; zeros when there is none.
std::vector<uint64_t> read_statistics(const std::string& file, unsigned field, const std::vector<unsigned>& numbers);

}  // namespace ebb::snapshot
