// A running process tree as /proc shows it: who belongs to it, what it holds open, and what of that reaches outside.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>
#include <vector>

namespace ebb::snapshot {

struct OpenDescriptor {
  pid_t pid = 0;  // who holds it
  int number = 0;
  std::string target;  // as readlink of /proc/PID/fd/N says: "/path", "pipe:[1]", "anon_inode:[userfaultfd]"
  int flags = 0;       // open(2)'s
};

// A pipe of which one end is in the tree and the other is not.
struct OutsidePipe {
  uint64_t inode = 0;
  int descriptor = -1;  // 0, 1 or 2: the standard descriptor that it is; -1: another one
  OpenDescriptor held;  // an example of who holds it
};

struct ProcessTree {
  pid_t root = 0;
  std::vector<pid_t> pids;  // the root first
  std::vector<OpenDescriptor> descriptors;
  std::string command;    // the root's name
  bool terminal = false;  // some descriptor is a terminal
};

// Reads the tree below `root`. Processes that end meanwhile are left out. Failure when the root does not exist or may
// not be looked at.
ProcessTree read_tree(pid_t root);

// Looks at all processes of the machine that it may look at, but only when a pipe of the tree has a lonely end.
std::vector<OutsidePipe> outside_pipes(const ProcessTree& tree);

// Whether some process of the tree but those that are `paged` has a userfaultfd or an io_uring, as a pager has.
bool has_pager_files(const ProcessTree& tree, const std::vector<pid_t>& paged);

// Why CRIU cannot take this tree, in one line that names the descriptor, mapping or process; "" when nothing is known.
// Established TCP connections are an obstacle unless `tcp` says that they are to be kept. The processes `paged` have a
// userfaultfd and an io_uring of our own until their heaps are sealed.
std::string known_obstacle(const ProcessTree& tree, bool tcp, const std::vector<pid_t>& paged = {});

// 'R', 'S', 'T', 'Z' ... of a process or thread as /proc has it; 0 when it does not exist.
char process_state(pid_t pid);
// Who traces it; 0: nobody, or it does not exist.
pid_t tracer_of(pid_t pid);
// It does not exist, or nothing of it is left but what its parent may ask for.
bool has_ended(pid_t pid);
// It does not exist, or runs nothing of its program any more, though it may have much to give back yet. Of a process or
// a thread.
bool is_ending(pid_t pid);
// Its first thread has ended and others have not: for a moment when it ends, or as long as its program likes.
bool has_ended_in_part(pid_t pid);

// The words of /proc/.../stat behind the name, which may hold blanks; `folder` is that of a process or a thread. Empty
// when it does not exist.
std::vector<std::string> stat_words(const std::string& folder);

// Waits for the end of a child; its status as of waitpid(2).
int wait_for_end(pid_t child);

// Its session was made in a PID namespace around its own, as happens to what `nsenter` and some containers start: it
// has no number here, and CRIU can neither store nor make such a session.
bool has_foreign_session(pid_t pid);

// "comm" of /proc/PID, or "?".
std::string process_name(pid_t pid);
// A variable of the environment that the process was started with, or "".
std::string start_variable(pid_t pid, const std::string& name);
// The process's PIDs, the outermost namespace's first. Empty when it does not exist.
std::vector<pid_t> namespace_pids(pid_t pid);

}  // namespace ebb::snapshot
