// `ebb snapshots`: the catalogue of snapshots on the command line.
#pragma once

#include <string>
#include <vector>

namespace ebb::tools {

// `arguments` come after the word `snapshots`. 0, or 1 when `verify` found a problem; Failure for everything else.
int snapshots_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
