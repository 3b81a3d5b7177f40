// `ebb restore`: brings a job back from its snapshot, with the PIDs that it had.
#pragma once

#include <string>
#include <vector>

namespace ebb::tools {

// `arguments` come after the word `restore`. The job's exit code, as `ebb run` gives it; 0 with --detach.
int restore_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
