// What a manifest knows by itself: see manifest.h. Its JSON is in manifest_json.cc.
#include "snapshot/manifest.h"

#include <sys/utsname.h>
#include <unistd.h>
#include <fstream>

#include "snapshot/checksum.h"
#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

// The value of the first line "NAME<blanks>: VALUE" of /proc/cpuinfo.
std::string cpu_field(const std::string& name) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.compare(0, name.size(), name) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

}  // namespace

Bytes Manifest::size() const {
  Bytes sum{};
  for (const auto& file : files) sum += file.size;
  return sum;
}

Bytes Manifest::allocated() const {
  Bytes sum{};
  for (const auto& file : files) sum += file.allocated;
  return sum;
}

void describe_here(Manifest* manifest) {
  manifest->id = random_hex(32);
  manifest->created_unix_ns = unix_now_ns() / 1'000'000 * 1'000'000;  // as exact as the text of it
  manifest->owner_uid = geteuid();
  manifest->boot_id = boot_id_here();
  utsname names = {};
  if (uname(&names) == 0) manifest->kernel_release = names.release;
  manifest->cpu_model = cpu_field("model name");
  manifest->cpu_flags_digest = checksum_of_text(cpu_field("flags"));
}

std::string boot_id_here() {
  std::string line;
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::getline(in, line);
  return line;
}

}  // namespace ebb::snapshot
