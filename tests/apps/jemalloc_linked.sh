# A program that is linked with jemalloc, has operator new from there, and gives back by free what it got from new: right
# as long as both are one allocator's.
# needs: g++
# dram: 64M
setup() {
  jemalloc=$(ls /usr/lib/*/libjemalloc.so.2 2>/dev/null | head -n 1)
  [ -n "$jemalloc" ] || { echo "no libjemalloc.so.2 here (package libjemalloc2)"; exit 77; }
  cat >new_and_free.cc <<'CODE'
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>
int main() {
  std::vector<std::string> kept;
  unsigned long sum = 0;
  for (int i = 0; i < 200000; ++i) {
    char* p = static_cast<char*>(::operator new(100 + i % 1000));
    std::memset(p, i % 251, 100);
    sum += static_cast<unsigned char>(p[99]);
    i % 2 ? std::free(p) : ::operator delete(p);
    p = static_cast<char*>(std::malloc(64));
    ::operator delete(p, std::nothrow);
    std::free(::operator new[](5000, std::nothrow));
    std::free(::operator new(300, std::align_val_t{256}));
    kept.push_back(std::string(500, static_cast<char>('a' + i % 26)));
  }
  for (const auto& text : kept) sum += static_cast<unsigned char>(text[499]);
  std::printf("%lu\n", sum);
}
CODE
  g++ -O1 -fno-builtin -Wno-mismatched-new-delete -o new_and_free new_and_free.cc "$jemalloc"
}
work() { "$data/new_and_free"; }
