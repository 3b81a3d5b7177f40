// `ebb run --snapshot-on`: a signal to `ebb run` has a snapshot taken of the job, which goes on.
#pragma once

#include <sys/types.h>
#include <optional>
#include <string>

#include "tools/console.h"

namespace ebb::tools {

struct SnapshotOn {
  int signal = 0;
  std::string tag;  // "": the job's name
};

// "SIGUSR1", "USR1" or either with "=TAG" behind it. Failure names what is wrong.
SnapshotOn parse_snapshot_on(const std::string& word);

// Takes one snapshot after the other, each by an `ebb snapshot` of its own, which says on stderr how it ended.
class SignalledSnapshots {
 public:
  SignalledSnapshots(std::optional<SnapshotOn> wish, Verbosity verbosity);
  ~SignalledSnapshots();  // waits for the one that is being taken
  SignalledSnapshots(const SignalledSnapshots&) = delete;
  SignalledSnapshots& operator=(const SignalledSnapshots&) = delete;

  // True when the signal is the one; then a snapshot of `job` has been begun, or a line says why not.
  bool take(int signal, pid_t job);

 private:
  bool busy();

  std::optional<SnapshotOn> wish_;
  Console console_;
  pid_t tool_ = 0;
};

}  // namespace ebb::tools
