// Which process tree the user means: a PID, or the name of a job.
#pragma once

#include <sys/types.h>
#include <string>

namespace ebb::tools {

// `word` is a PID, or the name of an `ebb run` (--name, else its command's). The PID of an `ebb run`, `ebb restore`
// or `ebb clone` stands for the program that it runs. Failure when there is none, or more than one of that name.
pid_t find_job(const std::string& word);

// The root of the job that a process belongs to: the program of the nearest `ebb run`, `ebb restore` or `ebb clone`
// above it; the process itself when there is none.
pid_t job_around(pid_t pid);

// The name of the `ebb run` that runs the process; "" when it is not the program of one.
std::string job_name(pid_t root);

}  // namespace ebb::tools
