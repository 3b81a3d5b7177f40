// No general-purpose allocator: built without memkind. See heap_backend.h.
#include "interpose/heap_backend.h"

namespace ebb::heap {

bool load_backend(Backend&) { return false; }

}  // namespace ebb::heap
