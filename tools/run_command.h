// `ebb run`: checks everything that can be checked, runs the program in its budget, and reports.
#pragma once

#include <string>
#include <vector>

namespace ebb::tools {

// Returns the exit code of the command line; Failure for what is ours.
int run_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
