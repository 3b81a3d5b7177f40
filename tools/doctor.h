// `ebb doctor`: what this machine lets Ebbtide do, what is lost where it does not, and the command that mends it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/memory.h"
#include "tools/system_files.h"

namespace ebb::tools {

enum class Health {
  kOk,
  kWarn,  // works, with something lost
  kFail,  // nothing can be paged
};

struct Check {
  std::string id;     // for programs: stable, snake_case
  std::string title;  // for people
  Health health = Health::kOk;
  std::string detail;  // what was found
  std::string lost;    // without it
  std::string mend;    // a command, or what to ask for
};

using Checks = std::vector<Check>;

// Each group appends its checks; `facts` gets figures that programs may want (integers, unit in the key).
void check_kernel(const SystemFiles& files, Checks* checks, nlohmann::json* facts);  // doctor_kernel.cc
void check_memory(const SystemFiles& files, const MemoryFacts& memory, Checks* checks, nlohmann::json* facts);
void check_limits(const SystemFiles& files, Checks* checks, nlohmann::json* facts);    // both doctor_memory.cc
void check_storage(const SystemFiles& files, Checks* checks, nlohmann::json* facts);   // doctor_storage.cc
void check_parts(const SystemFiles& files, Checks* checks, nlohmann::json* facts);     // doctor_parts.cc
void check_snapshot(const SystemFiles& files, Checks* checks, nlohmann::json* facts);  // doctor_snapshot.cc

// A version that starts with two numbers, "6.18.44-x" or "4.1.1".
struct ReleaseNumber {
  int major = 0;
  int minor = 0;
  auto operator<=>(const ReleaseNumber&) const = default;
};
ReleaseNumber parse_release(std::string_view text);

// Nothing is kFail.
bool can_page(const Checks& checks);
std::string doctor_text(const Checks& checks, bool colour);
nlohmann::json doctor_json(const Checks& checks, const nlohmann::json& facts);

// 0 when Ebbtide can page here, else 1.
int doctor_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
