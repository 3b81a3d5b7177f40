// Checklist 7: all operator new and delete forms, plain and array, nothrow, sized and aligned, before and after the
// process has grown; failure throws or returns null and runs the new handler first.
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>

#include "expect.h"

namespace {

int g_handler_calls = 0;

void handler() {
  if (++g_handler_calls == 3) std::set_new_handler(nullptr);
}

void every_form(size_t n) {
  const std::align_val_t a{128};
  const auto use = [&](void* p) {
    EXPECT(p);
    std::memset(p, 1, n);
    return p;
  };
  ::operator delete(use(::operator new(n)));
  ::operator delete[](use(::operator new[](n)));
  ::operator delete(use(::operator new(n)), n);
  ::operator delete[](use(::operator new[](n)), n);
  ::operator delete(use(::operator new(n, std::nothrow)), std::nothrow);
  ::operator delete[](use(::operator new[](n, std::nothrow)), std::nothrow);
  const auto aligned = [&](void* p) {
    EXPECT(reinterpret_cast<uintptr_t>(p) % 128 == 0);
    return use(p);
  };
  ::operator delete(aligned(::operator new(n, a)), a);
  ::operator delete[](aligned(::operator new[](n, a)), a);
  ::operator delete(aligned(::operator new(n, a)), n, a);
  ::operator delete[](aligned(::operator new[](n, a)), n, a);
  ::operator delete(aligned(::operator new(n, a, std::nothrow)), a, std::nothrow);
  ::operator delete[](aligned(::operator new[](n, a, std::nothrow)), a, std::nothrow);
}

void failure() {
  const size_t impossible = hidden(SIZE_MAX / 2 - 100);
  EXPECT(::operator new(impossible, std::nothrow) == nullptr);
  EXPECT(::operator new[](impossible, std::align_val_t{64}, std::nothrow) == nullptr);
  g_handler_calls = 0;
  std::set_new_handler(handler);
  bool thrown = false;
  try {
    ::operator delete(::operator new(impossible));
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  EXPECT(thrown && g_handler_calls == 3);
}

}  // namespace

int main() {
  for (int grown = 0; grown < 2; ++grown) {
    for (size_t n : {size_t{1}, size_t{500}, size_t{100000}, size_t{3} << 20, size_t{40} << 20}) every_form(n);
    failure();
    if (!grown) grow_process();
  }
  puts("ok");
  return 0;
}
