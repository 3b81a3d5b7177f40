// Large objects: each a mapping of its own in g_large_window, as glibc does it. They need no memkind, give their
// memory back when freed, are zero when new, and grow by moving page table entries instead of bytes.
//
// Lock-free, so fork has nothing to do here. Nothing of ours lies in or before an object: freeing a cold one touches
// no page of it.
#pragma once

#include <cstddef>

namespace ebb::heap {

// From this size on while the process lives on glibc's heap, and without memkind.
inline constexpr size_t kLargeObject = size_t{1} << 20;
// And from this size on (the highest that glibc's own threshold ever climbs to) beside memkind, which serves repeated
// smaller ones faster: it keeps their pages for a while.
inline constexpr size_t kHugeObject = size_t{32} << 20;

// `bytes` > 0; zeroed memory, or nullptr (errno untouched).
void* large_allocate(size_t bytes, size_t alignment);
void large_free(void* p);
size_t large_size(const void* p);
// Grown or shrunk, perhaps elsewhere; nullptr if that cannot be: then the object is as it was.
void* large_resize(void* p, size_t bytes);

}  // namespace ebb::heap
