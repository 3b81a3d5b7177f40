// Whether something could write to this process's memory behind its page tables.
#pragma once

namespace ebb {

// True when the program has a descriptor through which a device or the kernel may hold pages and write to them later,
// whatever protection they have by then: a file opened with O_DIRECT, an io_uring, a device. Ours do not count. True
// also when it cannot be known. Raw system calls; any thread.
bool pages_may_be_held();

}  // namespace ebb
