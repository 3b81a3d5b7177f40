// Micro-benchmarks of the page hash and of zero detection: what eviction and loading pay for each page.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "base/units.h"

namespace ebb {

PageHash hash_page_baseline(const void* page, uint64_t seed);
bool is_zero_page_baseline(const void* page);

namespace {

// `pages` pages of memory: few stay in the first-level cache, many do not fit in any.
class Memory {
 public:
  Memory(int64_t pages, bool zero) : bytes_(static_cast<size_t>(pages + 1) * kPageSize, zero ? 0 : 0x5A) {}
  const char* page(size_t i) const {
    return reinterpret_cast<const char*>(align_up(reinterpret_cast<uintptr_t>(bytes_.data()), kPageSize)) +
           i * kPageSize;
  }

 private:
  std::vector<char> bytes_;
};

template <auto kFunction>
void hash(benchmark::State& state) {
  const Memory memory(state.range(0), false);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(kFunction(memory.page(i), i));
    if (++i == static_cast<size_t>(state.range(0))) i = 0;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kPageSize));
}

template <auto kFunction>
void all_zero(benchmark::State& state) {
  const Memory memory(state.range(0), true);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(kFunction(memory.page(i)));
    if (++i == static_cast<size_t>(state.range(0))) i = 0;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kPageSize));
}

// The usual case: the first words of the page decide.
void not_zero(benchmark::State& state) {
  const Memory memory(1, false);
  for (auto _ : state) benchmark::DoNotOptimize(is_zero_page(memory.page(0)));
}

BENCHMARK(hash<hash_page>)->Name("hash_page")->Arg(2)->Arg(65536);
BENCHMARK(hash<hash_page_baseline>)->Name("hash_page_baseline")->Arg(2)->Arg(65536);
BENCHMARK(all_zero<is_zero_page>)->Name("is_zero_page/zero")->Arg(2)->Arg(65536);
BENCHMARK(all_zero<is_zero_page_baseline>)->Name("is_zero_page_baseline/zero")->Arg(2)->Arg(65536);
BENCHMARK(not_zero)->Name("is_zero_page/not_zero");

}  // namespace
}  // namespace ebb
