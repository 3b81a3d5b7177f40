// Micro-benchmarks of PageSet: the set algebra and the walks that each fault and each eviction makes.
#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/page_set.h"

namespace ebb {
namespace {

// Every `stride`-th page, so that stride 1 is one run and stride 2 is the most runs there can be.
PageSet every(int64_t stride) {
  PageSet s;
  for (unsigned i = 0; i < PageSet::kPages; i += static_cast<unsigned>(stride)) s.set(i);
  return s;
}

void algebra(benchmark::State& state) {
  PageSet a = every(2), b = every(3);
  const PageSet c = every(5);
  for (auto _ : state) {
    benchmark::DoNotOptimize(a);
    benchmark::DoNotOptimize(b);
    PageSet r = (a & b).minus(c) | b;
    benchmark::DoNotOptimize(r);
  }
}

void count(benchmark::State& state) {
  PageSet a = every(3);
  for (auto _ : state) {
    benchmark::DoNotOptimize(a);
    benchmark::DoNotOptimize(a.count());
  }
}

void set_run(benchmark::State& state) {
  const PageRun run = {17, static_cast<unsigned>(state.range(0))};
  PageSet a;
  for (auto _ : state) {
    a.set(run);
    benchmark::DoNotOptimize(a);
    a.clear(run);
    benchmark::DoNotOptimize(a);
  }
}

void walk_runs(benchmark::State& state) {
  PageSet a = every(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(a);
    unsigned pages = 0;
    a.for_each_run([&](PageRun r) { pages += r.count; });
    benchmark::DoNotOptimize(pages);
  }
}

BENCHMARK(algebra);
BENCHMARK(count);
BENCHMARK(set_run)->Arg(1)->Arg(16)->Arg(400);
BENCHMARK(walk_runs)->Arg(1)->Arg(2)->Arg(16)->Arg(512);

}  // namespace
}  // namespace ebb
