// SPDX-License-Identifier: Apache-2.0
//
// Queries and keys of Llama 3.1 as Hugging Face has them: the two halves of a head make the pairs
// (Pairing::half_split), the frequencies are scaled by "llama3", query heads share key heads. The
// projections give [batch, seq, heads, dim]; attention wants [batch, heads, seq, dim]. Either is
// rotated where it lies, and compared with what apply_rotary_pos_emb computes.

#include <algorithm>
#include <cmath>
#include <grape/grape.hpp>
#include <iostream>
#include <numbers>
#include <random>
#include <vector>

namespace {

using grape::Index;

constexpr Index kBatch = 2, kSeq = 16, kHeads = 8, kKeyHeads = 2, kDim = 128, kPast = 5000;

/// A Hugging Face config.json says these (interop/hf_config.hpp reads one).
constexpr double kBase = 500000;
constexpr grape::spectrum::Llama3Options kScaling{
    .factor = 8, .original_max_position = 8192, .low_freq_factor = 1, .high_freq_factor = 4};

/// transformers' Llama, a number at a time: x * cos + rotate_half(x) * sin.
double hugging_face(const grape::TensorView<const float>& x, Index b, Index t, Index h, Index i) {
  const Index m = i % (kDim / 2);
  double inv_freq = std::pow(kBase, -2.0 * static_cast<double>(m) / kDim);
  const double wavelength = 2 * std::numbers::pi / inv_freq;
  const auto length = static_cast<double>(kScaling.original_max_position);
  if (wavelength > length / kScaling.low_freq_factor) {
    inv_freq /= kScaling.factor;
  } else if (wavelength > length / kScaling.high_freq_factor) {
    const double smooth = (length / wavelength - kScaling.low_freq_factor) /
                          (kScaling.high_freq_factor - kScaling.low_freq_factor);
    inv_freq *= (1 - smooth) / kScaling.factor + smooth;
  }
  const double angle = static_cast<double>(kPast + t) * inv_freq;
  const double half = i < kDim / 2 ? -x(b, t, h, i + kDim / 2) : x(b, t, h, i - kDim / 2);
  return x(b, t, h, i) * std::cos(angle) + half * std::sin(angle);
}

double largest_difference(const grape::TensorView<const float>& got,
                          const grape::TensorView<const float>& before) {
  double out = 0;
  for (Index b = 0; b < got.batch(); ++b) {
    for (Index t = 0; t < got.seq(); ++t) {
      for (Index h = 0; h < got.heads(); ++h) {
        for (Index i = 0; i < got.dim(); ++i) {
          out = std::max(out, std::fabs(got(b, t, h, i) - hugging_face(before, b, t, h, i)));
        }
      }
    }
  }
  return out;
}

std::vector<float> random_numbers(Index count) {
  static std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = normal(engine);
  return out;
}

}  // namespace

int main() {
  const grape::RoPE<float, grape::Pairing::half_split> rope(
      grape::spectrum::llama3(kDim, kBase, kScaling));
  // The tokens after `kPast` cached ones; a batch with its own position_ids has
  // Positions::per_token(list, batch, seq).
  const auto action = rope.at(grape::Positions::range(kPast, kSeq));

  // q_proj(x).view(batch, seq, heads, dim), not transposed.
  std::vector<float> q_data = random_numbers(kBatch * kSeq * kHeads * kDim);
  std::vector<float> k_data = random_numbers(kBatch * kSeq * kKeyHeads * kDim);
  const std::vector<float> q_before = q_data, k_before = k_data;
  const auto q = grape::blhd(q_data.data(), kBatch, kSeq, kHeads, kDim);
  const auto k = grape::blhd(k_data.data(), kBatch, kSeq, kKeyHeads, kDim);
  grape::apply_rotation(action, q, k);
  const double q_error =
      largest_difference(q, grape::blhd(q_before.data(), kBatch, kSeq, kHeads, kDim));
  const double k_error =
      largest_difference(k, grape::blhd(k_before.data(), kBatch, kSeq, kKeyHeads, kDim));

  // The same after .transpose(1, 2).contiguous(): only the view changes.
  std::vector<float> t_data = random_numbers(kBatch * kSeq * kHeads * kDim);
  const std::vector<float> t_before = t_data;
  const auto transposed = grape::bhld(t_data.data(), kBatch, kHeads, kSeq, kDim);
  grape::apply_rotation(action, transposed);
  const double t_error =
      largest_difference(transposed, grape::bhld(t_before.data(), kBatch, kHeads, kSeq, kDim));

  std::cout << "Llama 3.1 at positions " << kPast << " to " << kPast + kSeq - 1
            << ", largest difference from Hugging Face's formula in double:\n"
            << "  q [batch, seq, heads, dim]:     " << q_error << '\n'
            << "  k [batch, seq, key heads, dim]: " << k_error << '\n'
            << "  q [batch, heads, seq, dim]:     " << t_error << '\n';
  return std::max({q_error, k_error, t_error}) < 2e-6 ? 0 : 1;
}
