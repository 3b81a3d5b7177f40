// Compiled for AVX2 where the compiler can: XXH3 runs at memory speed then. Chosen once, at the first call.
#include "base/hash.h"

#include <cpuid.h>
#include <immintrin.h>

#include "base/units.h"

#pragma GCC push_options
#pragma GCC target("avx2")
#define XXH_INLINE_ALL
#define XXH_VECTOR 2 /* XXH_AVX2 */
#include <xxhash.h>

namespace ebb {
namespace {

PageHash hash_avx2(const void* page, uint64_t seed) { return {XXH3_64bits(page, kPageSize) ^ seed}; }

bool is_zero_avx2(const void* page) {
  const auto* p = static_cast<const __m256i*>(page);
  for (unsigned i = 0; i < kPageSize / sizeof(__m256i); i += 4) {
    const __m256i any = _mm256_or_si256(_mm256_or_si256(p[i], p[i + 1]), _mm256_or_si256(p[i + 2], p[i + 3]));
    if (!_mm256_testz_si256(any, any)) return false;
  }
  return true;
}

}  // namespace
}  // namespace ebb
#pragma GCC pop_options

namespace ebb {

// Defined in hash_baseline.cc, for processors without AVX2.
PageHash hash_page_baseline(const void* page, uint64_t seed);
bool is_zero_page_baseline(const void* page);

namespace {
// Not by __builtin_cpu_supports: libgcc's part of it asks for everything, in a constructor of every process, and each
// CPUID is a trap of some ten microseconds in a virtual machine.
bool ask_for_avx2() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  unsigned state, high;
  asm volatile("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  if ((state & 6) != 6) return false;  // the kernel keeps XMM and YMM registers
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

bool has_avx2() {
  static constinit int known = 0;  // 0 not asked yet; a race writes the same answer twice
  if (!known) known = ask_for_avx2() ? 1 : -1;
  return known > 0;
}
}  // namespace

PageHash hash_page(const void* page, uint64_t seed) {
  return has_avx2() ? hash_avx2(page, seed) : hash_page_baseline(page, seed);
}
bool is_zero_page(const void* page) { return has_avx2() ? is_zero_avx2(page) : is_zero_page_baseline(page); }

}  // namespace ebb
