// The checksum of a file's content: XXH3, 128 bits (libxxhash), over pieces of 1 MiB.
//
// Pieces that are all zeros count by their absence, whether they are a hole or stored zeros: sparse files are fast, and
// a copy with other holes has the same sum. Each other piece is hashed, and the sum is the hash of (number of the
// piece, hash of the piece)... and the size: any changed, moved or missing byte changes it. Not a signature: who can
// write the files can write the sum, too.
#pragma once

#include <string>

#include "base/units.h"
#include "snapshot/progress.h"

namespace ebb::snapshot {

// 32 hexadecimal digits, of the first `size` bytes of `fd`, whose file offset it moves. `name` is for messages; `meter`
// hears of each piece, holes included. SnapshotError when the file cannot be read or is shorter.
std::string checksum_of_file(int fd, Bytes size, const std::string& name, Meter* meter);
// The same form, of a text.
std::string checksum_of_text(const std::string& text);

}  // namespace ebb::snapshot
