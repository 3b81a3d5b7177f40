// What the inline code of libstdc++'s headers calls when it must throw. This library throws nothing and does not depend
// on libstdc++ (loading it would double the start-up time of every small program), so here that is an internal error.
//
// The linker keeps the list complete: with another such function missing the library does not link.
#include <string_view>

#include "base/check.h"

namespace std {

// string_view::substr with a position behind the end.
void __throw_out_of_range_fmt(const char*, ...) {
  ebb::check_failed("a position inside the text", __FILE_NAME__, __LINE__);
}

}  // namespace std
