// dlopen, for one reason only: a library loaded with RTLD_DEEPBIND would bind to glibc's free and hand it our pointers.
#pragma once

namespace ebb::interpose {

void resolve_dlopen();
// From now on RTLD_DEEPBIND is taken out of every dlopen. Constructor only.
void strip_deepbind();

}  // namespace ebb::interpose
