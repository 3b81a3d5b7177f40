// Threads of other processes that stand still while this lives, held by ptrace: what they do meanwhile, signals that
// come included, they do when they are let go. When this process dies, the kernel lets them go, or kills them.
//
// For one thread of ours: the kernel takes tracers one by one.
#pragma once

#include <sys/types.h>
#include <map>

namespace ebb::snapshot {

class ThreadStop {
 public:
  enum class AtOurDeath { kGoOn, kDie };
  explicit ThreadStop(AtOurDeath death = AtOurDeath::kGoOn) : death_(death) {}
  ~ThreadStop() { let_all_go(); }
  ThreadStop(const ThreadStop&) = delete;
  ThreadStop& operator=(const ThreadStop&) = delete;

  // Returns when all threads of `process` but `except` (0: none) stand still. Those that end meanwhile are no concern.
  // Failure when one does not stop or may not be traced.
  void stop(pid_t process, pid_t except = 0);
  // Ends a stop of the process by SIGSTOP as SIGCONT does, but all its threads stand still here before and after it,
  // and the program gets no SIGCONT.
  void end_group_stop(pid_t process);
  void let_go(pid_t thread);
  void let_all_go();

 private:
  struct Thread {
    pid_t process = 0;
    int signal = 0;  // was about to be delivered when it stopped: the thread gets it when it goes on
  };
  bool seize(pid_t process, pid_t thread);
  bool await_stop(pid_t thread);

  AtOurDeath death_;
  std::map<pid_t, Thread> threads_;
};

}  // namespace ebb::snapshot
