// SPDX-License-Identifier: Apache-2.0
//
// What a rotation costs, against the least that any code can do with the same memory: one pass
// x[i] *= c in place. And what preparing an action costs, against calling libm for each entry.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <grape/grape.hpp>
#include <string>
#include <vector>

#include "support/ratio.hpp"

namespace {

using grape::Index;
using grape::Pairing;
using grape::Positions;

constexpr Index kHeadDim = 128;

/// The pass: read and write every byte of the buffer once, as floats.
void scale(float* x, std::size_t count, float c) {
  for (std::size_t i = 0; i < count; ++i) x[i] *= c;
}

template <class T, Pairing pairing>
bool rotate_case(const std::string& name, Index seq, Index heads, std::int64_t start,
                 double bound) {
  if (bench::smoke()) seq = std::min<Index>(seq, 2048);
  const auto count = static_cast<std::size_t>(seq * heads * kHeadDim);
  bench::Buffer<T> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<T>(static_cast<float>(i % 7) - 3.0f);
  const grape::RoPE<T, pairing> rope(grape::spectrum::log_uniform(kHeadDim, 10000.0));
  const auto action = rope.at(Positions::range(start, seq));
  float one = 1.0f;
  benchmark::DoNotOptimize(one);
  // Times one, any two finite half or bfloat16 numbers are a float that stays as it is.
  auto* bytes = reinterpret_cast<float*>(x.data());
  const std::size_t floats = count * sizeof(T) / sizeof(float);
  const auto view = grape::blhd(x.data(), 1, seq, heads, kHeadDim);
  const auto result = bench::compare([&] { scale(bytes, floats, one); },
                                     [&] { grape::apply_rotation(action, view); });
  return bench::report(name, result, bound);
}

template <class T>
bool both(const std::string& name, Index seq, Index heads, std::int64_t start, double half_bound,
          double interleaved_bound) {
  const bool a =
      rotate_case<T, Pairing::half_split>(name + ", half_split", seq, heads, start, half_bound);
  const bool b = rotate_case<T, Pairing::interleaved>(name + ", interleaved", seq, heads, start,
                                                      interleaved_bound);
  return a && b;
}

bool rotations() {
  bench::head("Rotation in place, head_dim 128", "pass x *= c", "rotation");
  bool ok = both<float>("prefill, seq 4096 x 32 heads", 4096, 32, 0, 1.06, 1.06);
  ok &= both<float>("in cache, seq 64 x 8 heads", 64, 8, 0, 1.3, 1.6);
  ok &= both<float>("decode, 1 token x 32 heads", 1, 32, 4095, 1.2, 1.2);
  ok &= both<float>("long, seq 131072 x 8 heads", 131072, 8, 0, 1.08, 1.08);
  ok &= both<float>("long, seq 131072 x 1 head", 131072, 1, 0, 1.8, 1.8);
  ok &= both<Eigen::bfloat16>("bfloat16, seq 4096 x 32 heads", 4096, 32, 0, 1.15, 1.15);
  ok &= both<Eigen::half>("half, seq 4096 x 32 heads", 4096, 32, 0, 1.15, 1.15);
  return ok;
}

/// sinf and cosf of n * theta for every entry, into a table [n, cos | sin, theta].
void libm_table(const std::vector<float>& theta, std::int64_t start, Index count, float* table) {
  for (Index t = 0; t < count; ++t) {
    for (std::size_t m = 0; m < theta.size(); ++m) {
      const float angle = static_cast<float>(start + t) * theta[m];
      table[m] = std::cos(angle);
      table[theta.size() + m] = std::sin(angle);
    }
    table += 2 * theta.size();
  }
}

bool preparations() {
  bench::head("Preparing an action again, 64 frequencies", "libm", "rope.at");
  const auto spectrum = grape::spectrum::log_uniform(kHeadDim, 10000.0);
  const grape::RoPE<float> rope(spectrum);
  const std::vector<float> theta(spectrum.frequencies().begin(), spectrum.frequencies().end());
  const Index seq = bench::smoke() ? 2048 : 131072;
  std::vector<float> table(static_cast<std::size_t>(seq) * 2 * theta.size());
  std::vector<std::int64_t> list(static_cast<std::size_t>(seq));
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int64_t>(i);
  auto action = rope.at(Positions::shared(list));
  const auto libm = [&] { libm_table(theta, 0, seq, table.data()); };
  bool ok = bench::report("131072 positions, any list",
                          bench::compare(
                              libm, [&] { rope.at(Positions::shared(list), action); }, 11),
                          8, true);
  action = rope.at(Positions::range(0, seq));
  ok &= bench::report("131072 positions, a range",
                      bench::compare(
                          libm, [&] { rope.at(Positions::range(0, seq), action); }, 11),
                      8, true);
  std::int64_t position = 4095;
  action = rope.at(Positions::range(position, 1));
  ok &= bench::report("1 position",
                      bench::compare(
                          [&] {
                            benchmark::DoNotOptimize(position);
                            libm_table(theta, position, 1, table.data());
                          },
                          [&] {
                            benchmark::DoNotOptimize(position);
                            rope.at(Positions::range(position, 1), action);
                          }),
                      1, true);
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) bench::smoke() = true;
  }
  const bool a = rotations(), b = preparations();
  std::printf("\n%s\n", a && b ? "every bound holds" : "a bound was missed");
  return 0;
}
