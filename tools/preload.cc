// Getting the library into the program: see preload.h.
#include "tools/preload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <array>
#include <climits>
#include <cstdlib>

#include "tools/console.h"

namespace ebb::tools {
namespace {

constexpr char kLibraryName[] = "libebbtide.so";

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool starts_with_any(std::string_view name, const auto& prefixes) {
  for (const std::string_view prefix : prefixes)
    if (name.substr(0, prefix.size()) == prefix) return true;
  return false;
}

bool is_allocator(std::string_view name) {
  static constexpr std::array<std::string_view, 12> kPrefixes = {
      "libjemalloc", "libtcmalloc", "libmimalloc", "libtbbmalloc", "libmemkind", "libmemtier",
      "libautohbw",  "libhoard",    "libsnmalloc", "librpmalloc",  "libscudo",   "libmvmalloc"};
  return starts_with_any(name, kPrefixes);
}

bool is_sanitizer(std::string_view name) {
  static constexpr std::array<std::string_view, 5> kPrefixes = {"libasan", "libtsan", "liblsan", "libmsan",
                                                                "libclang_rt."};
  return starts_with_any(name, kPrefixes);
}

}  // namespace

std::vector<std::string> library_places(const std::string& folder) {
  std::vector<std::string> out;
  for (const char* place :
       {"lib", "lib/ebbtide", "lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu/ebbtide", "lib64", "lib64/ebbtide"})
    out.push_back(fmt::format("{}/../{}/{}", folder, place, kLibraryName));
  return out;
}

std::string find_library() {
  std::array<char, PATH_MAX> self;
  const ssize_t n = readlink("/proc/self/exe", self.data(), self.size());
  if (n <= 0) throw Failure("cannot find libebbtide.so: /proc is not mounted");
  const std::string path(self.data(), static_cast<size_t>(n));
  const auto places = library_places(path.substr(0, path.rfind('/')));
  for (const auto& place : places) {
    std::array<char, PATH_MAX> real;
    if (access(place.c_str(), R_OK) != 0 || !realpath(place.c_str(), real.data())) continue;
    const std::string found = real.data();
    if (found.find_first_of(" :") != std::string::npos)
      throw Failure(
          fmt::format("cannot preload '{}': the loader splits LD_PRELOAD at blanks and colons; move Ebbtide to "
                      "a path without them",
                      found));
    return found;
  }
  throw Failure(
      fmt::format("cannot find {}; build or install it. Tried:\n  {}", kLibraryName, fmt::join(places, "\n  ")));
}

PreloadPlan plan_preload(const std::string& library, std::string_view existing) {
  PreloadPlan plan;
  plan.value = library;
  while (!existing.empty()) {
    const size_t end = std::min(existing.find_first_of(" :"), existing.size());
    const std::string_view entry = existing.substr(0, end);
    const std::string_view name = file_name(entry);
    if (!entry.empty() && name != kLibraryName) {
      plan.value.append(":").append(entry);
      if (is_allocator(name)) plan.others.emplace_back(name);
      if (is_sanitizer(name)) plan.sanitizer = name;
    }
    existing.remove_prefix(std::min(end + 1, existing.size()));
  }
  return plan;
}

}  // namespace ebb::tools
