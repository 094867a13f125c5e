// SPDX-License-Identifier: Apache-2.0
// A user's program in two translation units: both rotate, each with an action of the other, and the
// results must be the rotations that libm says.
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <vector>

#include "other.hpp"

namespace {

constexpr grape::Index kSeq = 7, kHeads = 2, kDim = 80;

bool is_rotated(grape::TensorView<const float> x) {
  for (grape::Index t = 0; t < kSeq; ++t) {
    for (grape::Index h = 0; h < kHeads; ++h) {
      for (grape::Index m = 0; m < kDim / 2; ++m) {
        const double phase =
            static_cast<double>(t) * std::pow(10000.0, -2.0 * static_cast<double>(m) / kDim);
        const double first = std::cos(phase) - 2 * std::sin(phase);
        const double second = std::sin(phase) + 2 * std::cos(phase);
        // Both are at most sqrt(5); the table and the products round to 2^-24 each.
        if (std::fabs(x(0, t, h, 2 * m) - first) > 1e-6) return false;
        if (std::fabs(x(0, t, h, 2 * m + 1) - second) > 1e-6) return false;
      }
    }
  }
  return true;
}

}  // namespace

int main() {
  static_assert(GRAPE_VERSION_MAJOR >= 0 && GRAPE_VERSION_MINOR >= 0 && GRAPE_VERSION_PATCH >= 0);
  std::vector<float> here(static_cast<std::size_t>(kSeq * kHeads * kDim));
  for (std::size_t i = 0; i < here.size(); ++i) here[i] = i % 2 == 0 ? 1.0f : 2.0f;
  std::vector<float> there = here;

  const grape::RoPE<float> rope(grape::spectrum::log_uniform(kDim));
  const auto x = grape::blhd(here.data(), 1, kSeq, kHeads, kDim);
  const auto y = grape::blhd(there.data(), 1, kSeq, kHeads, kDim);
  grape::apply_rotation(action_from_elsewhere(rope, kSeq), x);
  rotate_elsewhere(rope.at(grape::Positions::range(0, kSeq)), y);

  const grape::ALiBi<float> alibi(kHeads);
  std::vector<float> scores(static_cast<std::size_t>(kHeads * kSeq * kSeq));
  grape::add_bias(alibi.at(grape::Positions::range(0, kSeq), grape::Positions::range(0, kSeq)),
                  grape::bhqk(scores.data(), 1, kHeads, kSeq, kSeq));

  if (!is_rotated(x) || !is_rotated(y) || scores[kSeq] != -0.0625f) {
    std::puts("wrong");
    return 1;
  }
  std::puts("right");
  return 0;
}
