# gcc at -O2 on a large generated C file: the object and what it prints when run.
# needs: gcc awk
# dram: 64M
# evicts: yes
setup() {
  awk 'BEGIN {
    print "#include <stdio.h>"
    for (i = 0; i < 1500; ++i)
      printf "__attribute__((noinline)) static int f%d(int x) { int s = %d; for (int k = 0; k < x %% 7; ++k) s += k * %d ^ x; switch (s & 3) { case 0: return s; case 1: return s * 3; default: return x - s; } }\n", i, i, i + 3
    print "int main(void) { int s = 0;"
    for (i = 0; i < 1500; ++i) printf "s += f%d(s + %d);\n", i, i
    print "printf(\"%d\\n\", s); }" }' >large.c
}
work() {
  cp "$data/large.c" .
  gcc -O2 -c large.c -o out/large.o
  gcc out/large.o -o out/large
  out/large
}
