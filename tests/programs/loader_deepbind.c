/* Checklist 26: a library loaded with RTLD_DEEPBIND resizes and frees what the program allocated, and the other way. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "expect.h"

int main(void) {
  void* library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  EXPECT(library);
  char* (*demangle)(const char*, char*, size_t*, int*) =
      (char* (*)(const char*, char*, size_t*, int*))dlsym(library, "__cxa_demangle");
  EXPECT(demangle);
  for (int grown = 0; grown < 2; ++grown) {
    for (int i = 0; i < 100; ++i) {
      size_t bytes = 4; /* too small: the library must call realloc on it */
      char* buffer = malloc(bytes);
      int status = 1;
      char* text = demangle("_ZNSt6vectorIiSaIiEE9push_backERKi", buffer, &bytes, &status);
      EXPECT(text && status == 0 && strcmp(text, "std::vector<int, std::allocator<int> >::push_back(int const&)") == 0);
      free(text);
    }
    if (!grown) grow_process();
  }
  puts("ok");
  return 0;
}
