// Which process tree the user means: a PID, or the name of a job.
#pragma once

#include <sys/types.h>
#include <string>

namespace ebb::tools {

// `word` is a PID, or the name of an `ebb run` (--name, else its command's). The PID of an `ebb run` or `ebb restore`
// stands for the program that it runs. Failure when there is none, or more than one of that name.
pid_t find_job(const std::string& word);

}  // namespace ebb::tools
