// Getting the library into the program: where it is, and LD_PRELOAD with what is there already kept.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ebb::tools {

// libebbtide.so beside this executable: in the build tree and in an installation. Failure with the places tried.
std::string find_library();
// The places, in order, for an executable in `folder`.
std::vector<std::string> library_places(const std::string& folder);

struct PreloadPlan {
  std::string value;                // for LD_PRELOAD
  std::vector<std::string> others;  // allocators among what the user preloads; ours comes first and serves malloc
  std::string sanitizer;            // a sanitizer's runtime insists on being first: ours must stay out
};
// `existing` is the user's LD_PRELOAD; an older copy of our own library in it (a run within a run) is dropped.
PreloadPlan plan_preload(const std::string& library, std::string_view existing);

}  // namespace ebb::tools
