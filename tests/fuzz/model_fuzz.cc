// model_fuzz: threads do random operations on mapped and allocated memory and compare it with a model all the time. Run
// under the library with a small budget it moves pages without end; run bare it tests itself.
//
//   model_fuzz [--seed N] [--threads 3] [--mib 256] [--ops N] [--seconds N] [--until-migrations N]
//
// Ends when every thread has done its operations, the time is up, or the job has moved that many pages (each eviction,
// load and return from limbo of a 4 KiB page counts one), whichever is first; without any, after 20000 operations.
// A mismatch aborts, with region, page, what was expected and what was found. One seed is one sequence of operations
// for each thread; how threads and pager interleave is not repeatable.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "job_counters.h"
#include "operations.h"

namespace {

struct Options {
  uint64_t seed = 0, threads = 3, mib = 256, ops = 0, seconds = 0, migrations = 0;
};

Options parse(int argc, char** argv) {
  Options o;
  o.seed = std::random_device{}();
  struct {
    const char* name;
    uint64_t* value;
  } known[] = {{"--seed", &o.seed}, {"--threads", &o.threads}, {"--mib", &o.mib},
               {"--ops", &o.ops},   {"--seconds", &o.seconds}, {"--until-migrations", &o.migrations}};
  for (int i = 1; i < argc; i += 2) {
    bool found = false;
    for (auto& k : known)
      if (std::strcmp(argv[i], k.name) == 0 && i + 1 < argc)
        *k.value = std::strtoull(argv[i + 1], nullptr, 10), found = true;
    if (!found) {
      std::fprintf(stderr, "model_fuzz: '%s' is no option, or has no value\n", argv[i]);
      std::exit(2);
    }
  }
  if (!o.ops && !o.seconds && !o.migrations) o.ops = 20000;
  return o;
}

std::atomic<bool> g_stop{false};
std::atomic<uint64_t> g_operations{0};

void run(const Options& o, uint64_t index) {
  fuzz::World w;
  w.seed = o.seed + index;
  w.random.seed(w.seed);
  w.most_pages = o.mib * 256 / o.threads;
  w.next_id = static_cast<uint32_t>(index * 100000);
  w.file = memfd_create("fuzz", 0);
  if (w.file < 0) fuzz::fail("memfd_create");
  fuzz::fill(w);
  unsigned total = 0;
  for (const auto* op = fuzz::kOperations; op->weight; ++op) total += op->weight;
  for (uint64_t n = 0; !g_stop && (!o.ops || n < o.ops); ++n) {
    size_t at = w.below(total);
    const auto* op = fuzz::kOperations;
    while (at >= op->weight) at -= op++->weight;
    op->perform(w);
    g_operations.fetch_add(1, std::memory_order_relaxed);
  }
  fuzz::check_all(w);
  fuzz::release(w);
  close(w.file);
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const fuzz::JobCounters counters;
  std::fprintf(stderr, "model_fuzz: --seed %llu --threads %llu --mib %llu\n", static_cast<unsigned long long>(o.seed),
               static_cast<unsigned long long>(o.threads), static_cast<unsigned long long>(o.mib));
  if (o.migrations && !counters.known()) {
    std::fprintf(stderr,
                 "model_fuzz: --until-migrations needs EBB_JOB: run it by `ebb run` or tests/fuzz/run_fuzz.py\n");
    return 2;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(o.seconds);
  std::atomic<uint64_t> running{o.threads};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < o.threads; ++i)
    threads.emplace_back([&o, &running, i] {
      run(o, i);
      running.fetch_sub(1);
      running.notify_one();
    });
  std::thread watch([&] {
    while (running.load()) {
      if (o.seconds && std::chrono::steady_clock::now() > end) g_stop = true;
      if (o.migrations && counters.migrations() >= o.migrations) g_stop = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  for (auto& t : threads) t.join();
  watch.join();
  std::fprintf(stderr, "model_fuzz: %llu operations\n", static_cast<unsigned long long>(g_operations.load()));
  std::printf("%llu page migrations, 0 mismatches\n", static_cast<unsigned long long>(counters.migrations()));
  return 0;
}
