// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <string_view>
#include <vector>

/// Ratios between two pieces of work that are timed in turn in one run, so that a noisy or shared
/// machine slows both alike.
namespace bench {

using Clock = std::chrono::steady_clock;

/// GRAPE_SMOKE=1 or --smoke: one short round, to see that the benchmark runs at all.
inline bool& smoke() {
  static bool value = std::getenv("GRAPE_SMOKE") != nullptr;
  return value;
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class F>
double seconds(F&& work, int repeats) {
  const auto start = Clock::now();
  for (int i = 0; i < repeats; ++i) {
    work();
    benchmark::ClobberMemory();
  }
  return std::chrono::duration<double>(Clock::now() - start).count() / repeats;
}

/// Repeats that make one sample of `work` last about `target` seconds.
template <class F>
int repeats_for(F&& work, double target) {
  const double once = std::max(seconds(work, 1), 1e-9);
  if (once >= target) return 1;
  const double several = std::max(seconds(work, 10), 1e-10);
  return std::max(1, static_cast<int>(target / several));
}

struct Ratio {
  double baseline;  ///< seconds, median
  double work;      ///< seconds, median
  double ratio;     ///< median of work / baseline over the rounds
};

/// Times `baseline` and `work` in turn and returns the median of their ratio.
template <class B, class F>
Ratio compare(B&& baseline, F&& work, int rounds = 31, double sample = 2e-3) {
  if (smoke()) {
    rounds = 1;
    sample = 1e-6;
  }
  const int base_repeats = repeats_for(baseline, sample);
  const int work_repeats = repeats_for(work, sample);
  std::vector<double> base_times, work_times, ratios;
  for (int r = 0; r < rounds; ++r) {
    const double before = seconds(baseline, base_repeats);
    const double time = seconds(work, work_repeats);
    const double after = seconds(baseline, base_repeats);
    base_times.push_back((before + after) / 2);
    work_times.push_back(time);
    ratios.push_back(time / base_times.back());
  }
  return {median(base_times), median(work_times), median(ratios)};
}

/// Memory as tensor libraries hand it out: aligned for the cache, not on a page's first line.
template <class T>
struct CacheAligned {
  using value_type = T;
  CacheAligned() = default;
  template <class U>
  CacheAligned(const CacheAligned<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  template <class U>
  bool operator==(const CacheAligned<U>&) const {
    return true;
  }
};
template <class T>
using Buffer = std::vector<T, CacheAligned<T>>;

/// The processor's name, for the head of a table.
inline std::string machine() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

/// One line of a table with its verdict; returns whether the bound holds.
inline bool report(std::string_view name, const Ratio& r, double bound, bool at_least = false) {
  const double shown = at_least ? 1 / r.ratio : r.ratio;
  const bool ok = at_least ? shown >= bound : shown <= bound;
  std::printf("| %-46.*s | %10.3f us | %10.3f us | %6.2f | %s %5.2f | %s |\n",
              static_cast<int>(name.size()), name.data(), r.baseline * 1e6, r.work * 1e6, shown,
              at_least ? ">=" : "<=", bound, ok ? "ok" : "MISSED");
  std::fflush(stdout);
  return ok;
}

inline void head(std::string_view title, std::string_view baseline, std::string_view work) {
  std::printf(
      "\n%.*s (%s, one thread)\n\n| %-46s | %-13.*s | %-13.*s | ratio  | bound    | verdict |\n",
      static_cast<int>(title.size()), title.data(), machine().c_str(), "case",
      static_cast<int>(baseline.size()), baseline.data(), static_cast<int>(work.size()),
      work.data());
  std::printf("|%s|%s|%s|--------|----------|---------|\n", std::string(48, '-').c_str(),
              std::string(15, '-').c_str(), std::string(15, '-').c_str());
}

}  // namespace bench
