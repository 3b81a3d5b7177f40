// Owns a file descriptor of the command: the snapshot library's class.
#pragma once

#include "snapshot/fd.h"

namespace ebb::tools {

using snapshot::Fd;

}  // namespace ebb::tools
