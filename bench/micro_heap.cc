// Question: does malloc under the preload cost more than glibc's, before and after the process has grown?
//
// Run bare and preloaded and compare the geometric means; `--grown` first allocates 128 MiB of small objects, which
// makes the preloaded process go over to memkind:
//   micro_heap [--grown] [--benchmark_filter=...]
// Pair: one block allocated, touched and freed. Churn: 64 live blocks replaced in a scattered order (the number of
// live ones is fewer above 64 KiB, so that all fit the caches' reach).
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

void touch(void* p, size_t bytes) {
  auto* at = static_cast<volatile char*>(p);
  at[0] = 1;
  at[bytes - 1] = 1;
}

void pair(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::malloc(bytes);
    touch(p, bytes);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}

void churn(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const size_t live = bytes > 65536 ? 8 : 64;
  void* block[64] = {};
  uint64_t random = 88172645463325252ULL + static_cast<uint64_t>(state.thread_index());
  for (auto _ : state) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    void*& p = block[random % live];
    std::free(p);
    p = std::malloc(bytes);
    touch(p, bytes);
  }
  for (void* p : block) std::free(p);
}

// 1,000 blocks of mixed sizes built up, then freed in the same order: what a parser or a table build does.
void batch(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  std::vector<void*> block(1000);
  for (auto _ : state) {
    for (size_t i = 0; i < block.size(); ++i) touch(block[i] = std::malloc(bytes + i % 64), bytes);
    for (void* p : block) std::free(p);
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}

void sizes(benchmark::internal::Benchmark* b) { b->RangeMultiplier(4)->Range(16, 1 << 20)->ThreadRange(1, 2); }

BENCHMARK(pair)->Apply(sizes);
BENCHMARK(churn)->Apply(sizes);
BENCHMARK(batch)->RangeMultiplier(4)->Range(16, 4096)->ThreadRange(1, 2);

}  // namespace

int main(int argc, char** argv) {
  std::vector<void*> kept;
  if (argc > 1 && std::strcmp(argv[1], "--grown") == 0) {
    for (int i = 0; i < 131072; ++i) {
      kept.push_back(std::malloc(1024));
      std::memset(kept.back(), 1, 1024);
    }
    argv[1] = argv[0];
    ++argv, --argc;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  for (void* p : kept) std::free(p);
  return 0;
}
