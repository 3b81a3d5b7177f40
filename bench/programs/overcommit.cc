// overcommit: a program that needs more memory than its budget, in five access patterns, for whole-program benchmarks.
//
// It knows nothing of Ebbtide: the same binary runs bare, preloaded, and under kernel swap in a memory cgroup. All data
// is incompressible and every access is verified, so that a fast wrong answer cannot win. Results are JSON lines on
// stdout; exit status 1 when a wrong value was read.
//
//   seqread  passes of sequential reads over the whole array
//   rmw      passes that read, change and write back every word
//   rand4k   random reads of one word each, uniform over the pages, by --threads threads
//   hotcold  one thread reads at random in a hot array, with and without another that scans a cold array beside it
//   refault  latency of single touches: uniformly random pages, then pages in sequence
#include <getopt.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kWordsPerPage = 4096 / sizeof(uint64_t);
constexpr uint64_t kStep = 0x9E3779B97F4A7C15;

struct Options {
  std::string mode;
  size_t mib = 0;
  size_t hot_mib = 0;
  unsigned passes = 3;
  unsigned threads = 1;
  double seconds = 10;
  double settle = 3;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// What word `i` holds: SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014), which no compressor can shorten.
uint64_t word(uint64_t i) {
  uint64_t z = (i + 1) * kStep;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return word(state_++ * 0x5851F42D4C957F2D); }
  // Uniform enough for n far below 2^64.
  size_t below(size_t n) { return static_cast<size_t>((static_cast<unsigned __int128>(next()) * n) >> 64); }

 private:
  uint64_t state_;
};

// An array from malloc, filled in order.
class Array {
 public:
  Array(const char* name, size_t mib) : words_((mib << 20) / sizeof(uint64_t)) {
    data_ = static_cast<uint64_t*>(std::malloc(words_ * sizeof(uint64_t)));
    if (!data_) {
      std::fprintf(stderr, "overcommit: malloc of %zu MiB failed\n", mib);
      std::exit(2);
    }
    const double start = now();
    for (size_t i = 0; i < words_; ++i) {
      data_[i] = word(i);
      sum_ += data_[i];
    }
    const double took = now() - start;
    std::printf("{\"phase\": \"fill\", \"array\": \"%s\", \"mib\": %zu, \"seconds\": %.4f, \"gb_per_s\": %.4f}\n", name,
                mib, took, gigabytes() / took);
    std::fflush(stdout);
  }
  ~Array() { std::free(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  uint64_t* data() { return data_; }
  size_t words() const { return words_; }
  size_t pages() const { return words_ / kWordsPerPage; }
  double gigabytes() const { return static_cast<double>(words_ * sizeof(uint64_t)) / 1e9; }
  uint64_t& sum() { return sum_; }

 private:
  uint64_t* data_ = nullptr;
  size_t words_;
  uint64_t sum_ = 0;
};

bool report_pass(const char* mode, unsigned pass, const Array& a, double took, bool ok) {
  std::printf("{\"phase\": \"%s\", \"pass\": %u, \"seconds\": %.4f, \"gb_per_s\": %.4f, \"ok\": %s}\n", mode, pass,
              took, a.gigabytes() / took, ok ? "true" : "false");
  std::fflush(stdout);
  return ok;
}

bool seqread(const Options& o) {
  Array a("all", o.mib);
  bool ok = true;
  for (unsigned pass = 0; pass < o.passes; ++pass) {
    const double start = now();
    uint64_t sum = 0;
    for (size_t i = 0; i < a.words(); ++i) sum += a.data()[i];
    ok &= report_pass("seqread", pass, a, now() - start, sum == a.sum());
  }
  return ok;
}

bool rmw(const Options& o) {
  Array a("all", o.mib);
  bool ok = true;
  for (unsigned pass = 0; pass < o.passes; ++pass) {
    const double start = now();
    uint64_t before = 0;
    for (size_t i = 0; i < a.words(); ++i) {
      before += a.data()[i];
      a.data()[i] += kStep;
    }
    ok &= report_pass("rmw", pass, a, now() - start, before == a.sum());
    a.sum() += kStep * a.words();
  }
  return ok;
}

// Threads that read random words of an array until told to stop; counts are taken while they run.
class RandomReaders {
 public:
  RandomReaders(Array& a, unsigned threads) : counters_(threads) {
    for (unsigned t = 0; t < threads; ++t) threads_.emplace_back([this, &a, t] { read(a, t); });
  }
  ~RandomReaders() {
    stop_ = true;
    for (auto& t : threads_) t.join();
  }
  // Accesses a second, all threads together, over the next `seconds`.
  double rate(double seconds) {
    const double start = now();
    const uint64_t before = total();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    return static_cast<double>(total() - before) / (now() - start);
  }
  uint64_t wrong() const { return wrong_; }

 private:
  struct alignas(64) Counter {
    std::atomic<uint64_t> done{0};
  };
  void read(Array& a, unsigned t) {
    Random random(t + 1);
    for (uint64_t n = 0; !stop_.load(std::memory_order_relaxed);) {
      const size_t i = random.below(a.pages()) * kWordsPerPage + random.below(kWordsPerPage);
      if (a.data()[i] != word(i)) wrong_.fetch_add(1);
      counters_[t].done.store(++n, std::memory_order_relaxed);
    }
  }
  uint64_t total() const {
    uint64_t sum = 0;
    for (const auto& c : counters_) sum += c.done.load(std::memory_order_relaxed);
    return sum;
  }

  std::vector<Counter> counters_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> wrong_{0};
};

bool rand4k(const Options& o) {
  Array a("all", o.mib);
  RandomReaders readers(a, o.threads);
  readers.rate(o.settle);
  const double rate = readers.rate(o.seconds);
  const bool ok = readers.wrong() == 0;
  std::printf("{\"phase\": \"rand4k\", \"threads\": %u, \"seconds\": %.1f, \"ops_per_s\": %.1f, \"ok\": %s}\n",
              o.threads, o.seconds, rate, ok ? "true" : "false");
  return ok;
}

bool hotcold(const Options& o) {
  Array cold("cold", o.mib - o.hot_mib);
  Array hot("hot", o.hot_mib);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> scanned{0};
  std::atomic<bool> scan_ok{true};
  const auto scan = [&] {
    for (;;) {
      uint64_t sum = 0;
      for (size_t p = 0; p < cold.pages(); ++p) {
        for (size_t i = p * kWordsPerPage; i < (p + 1) * kWordsPerPage; ++i) sum += cold.data()[i];
        scanned.store(scanned.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        if (stop.load(std::memory_order_relaxed)) return;
      }
      if (sum != cold.sum()) scan_ok = false;
    }
  };

  RandomReaders readers(hot, 1);
  readers.rate(o.settle);
  const double off = readers.rate(o.seconds);
  std::thread scanner(scan);
  readers.rate(o.settle);
  const double start = now();
  const uint64_t scanned_before = scanned;
  const double on = readers.rate(o.seconds);
  const double scan_rate = static_cast<double>(scanned - scanned_before) * 4096 / 1e9 / (now() - start);
  stop = true;
  scanner.join();

  const bool ok = readers.wrong() == 0 && scan_ok;
  std::printf(
      "{\"phase\": \"hotcold\", \"hot_mib\": %zu, \"cold_mib\": %zu, \"hot_per_s_off\": %.1f, "
      "\"hot_per_s_on\": %.1f, \"slowdown\": %.4f, \"scan_gb_per_s\": %.4f, \"ok\": %s}\n",
      o.hot_mib, o.mib - o.hot_mib, off, on, on > 0 ? off / on : 0, scan_rate, ok ? "true" : "false");
  return ok;
}

double percentile(std::vector<double>& v, double share) {
  if (v.empty()) return 0;
  const auto at = static_cast<size_t>(share * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(at), v.end());
  return v[at];
}

bool refault(const Options& o) {
  constexpr double kFault = 1e-6;  // a touch of a resident page is well below this, a fault well above
  Array a("all", o.mib);
  Random random(1);
  bool ok = true;
  std::vector<double> slow;
  size_t touches = 0;
  slow.reserve(1 << 20);
  for (const double end = now() + o.seconds; now() < end && slow.size() < slow.capacity(); ++touches) {
    const size_t i = random.below(a.pages()) * kWordsPerPage + random.below(kWordsPerPage);
    const double start = now();
    const uint64_t seen = *static_cast<volatile uint64_t*>(a.data() + i);
    const double took = now() - start;
    ok &= seen == word(i);
    if (took > kFault) slow.push_back(took);
  }
  const double p50 = percentile(slow, 0.50) * 1e6, p99 = percentile(slow, 0.99) * 1e6;
  std::printf(
      "{\"phase\": \"refault_random\", \"touches\": %zu, \"faults\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, "
      "\"p999_us\": %.2f, \"ok\": %s}\n",
      touches, slow.size(), p50, p99, percentile(slow, 0.999) * 1e6, ok ? "true" : "false");
  std::fflush(stdout);

  constexpr size_t kBatch = 512;
  for (unsigned pass = 0; pass < o.passes; ++pass) {
    std::vector<double> batches;
    const double begin = now();
    for (size_t p = 0; p + kBatch <= a.pages(); p += kBatch) {
      const double start = now();
      for (size_t k = p; k < p + kBatch; ++k)
        ok &= *static_cast<volatile uint64_t*>(a.data() + k * kWordsPerPage) == word(k * kWordsPerPage);
      batches.push_back((now() - start) / kBatch * 1e6);
    }
    const double mean = (now() - begin) / static_cast<double>(a.pages()) * 1e6;
    std::printf(
        "{\"phase\": \"refault_sequence\", \"pass\": %u, \"us_per_page\": %.4f, \"batch_p50_us\": %.4f, "
        "\"batch_p99_us\": %.4f, \"ok\": %s}\n",
        pass, mean, percentile(batches, 0.50), percentile(batches, 0.99), ok ? "true" : "false");
    std::fflush(stdout);
  }
  return ok;
}

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: overcommit seqread|rmw|rand4k|hotcold|refault --mib N [--passes N] [--threads N]\n"
               "                  [--seconds S] [--settle S] [--hot MIB]\n");
  std::exit(2);
}

Options parse(int argc, char** argv) {
  static const option kOptions[] = {{"mib", required_argument, nullptr, 'm'},
                                    {"hot", required_argument, nullptr, 'h'},
                                    {"passes", required_argument, nullptr, 'p'},
                                    {"threads", required_argument, nullptr, 't'},
                                    {"seconds", required_argument, nullptr, 's'},
                                    {"settle", required_argument, nullptr, 'w'},
                                    {nullptr, 0, nullptr, 0}};
  Options o;
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'm':
        o.mib = std::strtoul(optarg, nullptr, 10);
        break;
      case 'h':
        o.hot_mib = std::strtoul(optarg, nullptr, 10);
        break;
      case 'p':
        o.passes = static_cast<unsigned>(std::strtoul(optarg, nullptr, 10));
        break;
      case 't':
        o.threads = static_cast<unsigned>(std::strtoul(optarg, nullptr, 10));
        break;
      case 's':
        o.seconds = std::strtod(optarg, nullptr);
        break;
      case 'w':
        o.settle = std::strtod(optarg, nullptr);
        break;
      default:
        usage();
    }
  }
  if (optind + 1 != argc || !o.mib) usage();
  o.mode = argv[optind];
  if (o.mode == "hotcold" && (!o.hot_mib || o.hot_mib >= o.mib)) usage();
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  static constexpr struct {
    const char* name;
    bool (*run)(const Options&);
  } kModes[] = {{"seqread", seqread}, {"rmw", rmw}, {"rand4k", rand4k}, {"hotcold", hotcold}, {"refault", refault}};
  for (const auto& m : kModes)
    if (o.mode == m.name) return m.run(o) ? 0 : 1;
  usage();
}
