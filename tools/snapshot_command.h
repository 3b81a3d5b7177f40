// `ebb snapshot`: freezes a running job into a snapshot.
#pragma once

#include <string>
#include <vector>

namespace ebb::tools {

// `arguments` come after the word `snapshot`. 0 when the snapshot is there; Failure otherwise, and the job goes on.
int snapshot_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
