// Sizes and times as messages and manifests have them. Pure; the command uses them, too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"

namespace ebb::snapshot {

// "1.5 GiB", "512.0 MiB", "17 B".
std::string readable(Bytes bytes);
// RFC 3339, UTC, milliseconds, from nanoseconds since the epoch: "2026-01-31T09:05:07.123Z".
std::string rfc3339(uint64_t unix_ns);
// The reverse of rfc3339(), of exactly its form; nothing for any other text.
std::optional<uint64_t> parse_rfc3339(const std::string& text);
// Nanoseconds since the epoch.
uint64_t unix_now_ns();
// `count` hexadecimal digits from the kernel's random numbers. SnapshotError when there are none.
std::string random_hex(size_t count);

}  // namespace ebb::snapshot
