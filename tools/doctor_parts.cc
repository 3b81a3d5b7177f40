// `ebb doctor`: the parts that Ebbtide stands on: its own library, memkind, libpmem2, libnuma.
#include <dlfcn.h>

#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/preload.h"

namespace ebb::tools {
namespace {

Check own_library() {
  Check check{"library", "libebbtide.so", Health::kOk, "", "", ""};
  try {
    check.detail = find_library();
  } catch (const Failure& failure) {
    check.health = Health::kFail;
    check.detail = "not found beside this command, or in an unusable place";
    check.lost = "everything: there is nothing to preload";
    check.mend = failure.what();
    for (char& c : check.mend)
      if (c == '\n') c = ' ';
  }
  return check;
}

Check shared_library(const char* id, const char* title, const char* file, const char* lost, const char* package) {
  Check check{id, title, Health::kOk, "", "", ""};
  // Stays loaded: some of these start threads or register handlers that must not lose their code.
  if (dlopen(file, RTLD_LAZY | RTLD_LOCAL)) {
    check.detail = std::string(file) + " loads";
  } else {
    check.health = Health::kWarn;
    const char* reason = dlerror();
    check.detail = reason ? reason : "does not load";
    check.lost = lost;
    check.mend = std::string("apt install ") + package;
  }
  return check;
}

}  // namespace

void check_parts(const SystemFiles&, Checks* checks, nlohmann::json*) {
  checks->push_back(own_library());
  checks->push_back(shared_library("memkind", "memkind", "libmemkind.so.0",
                                   "the tiered heap: only large maps are managed", "libmemkind0"));
  checks->push_back(
      shared_library("libpmem2", "libpmem2", "libpmem2.so.1", "byte-addressable tiers (DAX)", "libpmem2"));
  checks->push_back(shared_library("libnuma", "libnuma", "libnuma.so.1", "NUMA nodes as tiers", "libnuma1"));
}

}  // namespace ebb::tools
