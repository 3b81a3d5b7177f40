// Checklist 7: a program's own operator new and delete stay in force.
#include <new>

#include "expect.h"

namespace {
int g_made = 0, g_gone = 0;
}

void* operator new(size_t n) {
  ++g_made;
  if (void* p = std::malloc(n ? n : 1)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  ++g_gone;
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  ++g_gone;
  std::free(p);
}

int main() {
  for (int i = 0; i < 1000; ++i) delete static_cast<int*>(escape(new int(i)));
  for (int i = 0; i < 10; ++i) delete[] static_cast<char*>(escape(new char[static_cast<size_t>(2 << 20)]));
  EXPECT(g_made == 1010 && g_gone == 1010);
  puts("ok");
  return 0;
}
