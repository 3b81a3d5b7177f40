/* Checklist 17: machine code written into managed memory, made executable, goes cold and is run again, as a JIT's is. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

int main(void) {
  const size_t bytes = 8 * MIB;
  unsigned char* p = (unsigned char*)cold_map(bytes);
  for (uint32_t i = 0; i < bytes / PAGE; ++i) {
    unsigned char* code = p + i * PAGE;
    code[0] = 0xb8; /* mov $i, %eax; ret */
    memcpy(code + 1, &i, 4);
    code[5] = 0xc3;
  }
  cold_evict(p, bytes);
  for (int round = 0; round < 3; ++round) {
    EXPECT(mprotect(p, bytes, PROT_READ | PROT_EXEC) == 0);
    cold_press();
    for (uint32_t i = 0; i < bytes / PAGE; ++i) {
      uint32_t (*function)(void);
      void* at = p + i * PAGE;
      memcpy(&function, &at, sizeof function);
      EXPECT(function() == i + (unsigned)round);
    }
    EXPECT(mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0);
    cold_evict(p, bytes);
    for (uint32_t i = 0; i < bytes / PAGE; ++i) {
      uint32_t next = i + (unsigned)round + 1;
      memcpy(p + i * PAGE + 1, &next, 4);
    }
  }
  puts("ok");
  return 0;
}
