// Running the program as a child of `ebb run` as if we were not there: same process group and terminal, signals passed
// on, stops and continuations mirrored.
#pragma once

#include <sys/resource.h>
#include <functional>
#include <string>
#include <vector>

namespace ebb::tools {

struct ChildEnd {
  int status = 0;      // as waitpid gives it
  int exec_error = 0;  // errno, when the program could not be started at all
  rusage usage = {};   // of the program and the descendants that it waited for
  int pid = 0;
  int exit_code() const;  // its own, or 128 + signal
  int signal() const;     // that killed it, or 0
};

// Asked for each signal that a process sent to us, with the program's PID. True: it was not meant for the program.
using SignalFilter = std::function<bool(int signal, pid_t child)>;

// Forks, executes `argv` with `environment` (execvp rules) and waits for that process only; descendants may outlive it.
// Failure when the kernel refuses to fork.
ChildEnd run_child(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                   const SignalFilter& filter = {});

// For a child that something else starts in our name, as CRIU does. From hold_signals on, signals wait for wait_child,
// which passes them on as run_child does, and returns at the child's end.
void hold_signals();
ChildEnd wait_child(int pid, const SignalFilter& filter = {});

// Dies of SIGINT or SIGQUIT if the program did, so that a shell's loop stops at Ctrl-C as it does without us; returns
// for any other end.
void die_like(const ChildEnd& end);

}  // namespace ebb::tools
