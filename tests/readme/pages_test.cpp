// SPDX-License-Identifier: Apache-2.0
// The code of the pages under cmake/docs, each beside what it replaces, a number at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <grape/grape.hpp>
#include <vector>

#include "support/random.hpp"

namespace {

using grape::Index;
using grape::Pairing;

constexpr Index batch = 2, seq = 5, heads = 4, key_heads = 2, head_dim = 16, past = 1000;

std::vector<float> random_numbers(Index count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  static Random random(20);
  for (float& x : out) x = static_cast<float>(random.uniform(-2, 2));
  return out;
}

/// x0 cos - x1 sin, x0 sin + x1 cos of the pair that coordinate i is in, in double.
double turned(const float* head, Index i, Pairing pairing, const std::vector<double>& theta,
              double position) {
  const auto planes = static_cast<Index>(theta.size());
  const Index m = pairing == Pairing::interleaved ? i / 2 : i % planes;
  const Index first = pairing == Pairing::interleaved ? 2 * m : m;
  const Index second = pairing == Pairing::interleaved ? 2 * m + 1 : m + planes;
  const double angle = position * theta[static_cast<std::size_t>(m)];
  const double x0 = head[first], x1 = head[second];
  return i == first ? x0 * std::cos(angle) - x1 * std::sin(angle)
                    : x0 * std::sin(angle) + x1 * std::cos(angle);
}

/// Largest difference of a rotated tensor [batch, seq, .., head_dim] from that.
double error(const std::vector<float>& got, const std::vector<float>& before, Index count,
             Pairing pairing, const std::vector<double>& theta, double start) {
  double out = 0;
  for (std::size_t e = 0; e < got.size(); ++e) {
    const auto row = static_cast<Index>(e) / head_dim;
    const double want = turned(before.data() + row * head_dim, static_cast<Index>(e) % head_dim,
                               pairing, theta, start + static_cast<double>(row / count % seq));
    out = std::max(out, std::fabs(static_cast<double>(got[e]) - want));
  }
  return out;
}

std::vector<double> log_uniform(double base) {
  std::vector<double> out;
  for (Index m = 0; m < head_dim / 2; ++m) {
    out.push_back(std::pow(base, -2.0 * static_cast<double>(m) / head_dim));
  }
  return out;
}

// Two products of numbers up to 2 and their sum, each rounded, with cosines off by half an ulp.
constexpr double kTolerance = 4 * 4 * 0x1p-24;

TEST(Pages, FromHuggingFace) {
  std::vector<float> q_data = random_numbers(batch * seq * heads * head_dim);
  std::vector<float> k_data = random_numbers(batch * seq * key_heads * head_dim);
  const std::vector<float> q_before = q_data, k_before = k_data;
  // [readme]
  // "rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 8, ..}; q_proj and
  // k_proj as they come, before any transpose: [batch, seq, heads, head_dim].
  grape::RoPE<float, grape::Pairing::half_split> llama(
      grape::spectrum::llama3(head_dim, 500000.0, {.factor = 8, .original_max_position = 8192}));
  grape::apply_rotation(llama, grape::Positions::range(past, seq),
                        grape::blhd(q_data.data(), batch, seq, heads, head_dim),
                        grape::blhd(k_data.data(), batch, seq, key_heads, head_dim));
  // [/readme]
  std::vector<double> theta = log_uniform(500000);
  for (double& t : theta) {  // transformers' _compute_llama3_parameters
    const double wavelength = 2 * 3.14159265358979323846 / t, smooth = (8192 / wavelength - 1) / 3;
    if (wavelength > 8192) {
      t /= 8;
    } else if (wavelength > 8192.0 / 4) {
      t = (1 - smooth) * t / 8 + smooth * t;
    }
  }
  EXPECT_LE(error(q_data, q_before, heads, Pairing::half_split, theta, past), kTolerance);
  EXPECT_LE(error(k_data, k_before, key_heads, Pairing::half_split, theta, past), kTolerance);
}

TEST(Pages, FromLlamaCpp) {
  constexpr double freq_base = 10000, freq_scale = 0.25;
  const std::vector<float> before = random_numbers(batch * seq * heads * head_dim);
  std::vector<float> data = before, neox_data = before;
  const auto q = grape::blhd(data.data(), batch, seq, heads, head_dim);
  const auto neox_q = grape::blhd(neox_data.data(), batch, seq, heads, head_dim);
  // [readme]
  // ggml_rope_ext(.., n_dims, mode, n_ctx_orig, freq_base, freq_scale, ext_factor = 0, ..)
  const auto freqs = grape::spectrum::linear(head_dim, freq_base, 1 / freq_scale);
  grape::RoPE<float, grape::Pairing::interleaved> normal(freqs);  // GGML_ROPE_TYPE_NORMAL
  grape::RoPE<float, grape::Pairing::half_split> neox(freqs);     // GGML_ROPE_TYPE_NEOX
  grape::apply_rotation(normal, grape::Positions::range(past, seq), q);
  grape::apply_rotation(neox, grape::Positions::range(past, seq), neox_q);
  // [/readme]
  std::vector<double> theta = log_uniform(freq_base);
  for (double& t : theta) t *= freq_scale;
  EXPECT_LE(error(data, before, heads, Pairing::interleaved, theta, past), kTolerance);
  EXPECT_LE(error(neox_data, before, heads, Pairing::half_split, theta, past), kTolerance);
}

TEST(Pages, PositionsOfALlamaBatch) {
  constexpr Index n_tokens = 6;
  const std::int32_t pos[n_tokens] = {0, 1, 2, 700, 701, 41};  // of three sequences
  const std::vector<float> before = random_numbers(n_tokens * heads * head_dim);
  std::vector<float> data = before, k_data = random_numbers(n_tokens * key_heads * head_dim);
  const grape::RoPE<float, Pairing::half_split> neox(grape::spectrum::log_uniform(head_dim));
  float *q = data.data(), *k = k_data.data();
  // [readme]
  // llama_batch: n_tokens tokens of any sequences, each with its llama_pos, an int32_t.
  const std::vector<std::int64_t> positions(pos, pos + n_tokens);  // outlives the call below
  grape::apply_rotation(neox, grape::Positions::shared(positions),
                        grape::blhd(q, 1, n_tokens, heads, head_dim),
                        grape::blhd(k, 1, n_tokens, key_heads, head_dim));
  // [/readme]
  const std::vector<double> theta = log_uniform(10000);
  for (Index t = 0; t < n_tokens; ++t) {
    const auto at = static_cast<std::size_t>((t * heads + 3) * head_dim);
    for (Index i = 0; i < head_dim; ++i) {
      EXPECT_NEAR(data[at + static_cast<std::size_t>(i)],
                  turned(&before[at], i, Pairing::half_split, theta, pos[t]), kTolerance);
    }
  }
}

TEST(Pages, FusedQueriesKeysAndValues) {
  constexpr Index rotary_dim = 4, position = 3;
  const std::vector<float> before = random_numbers(batch * seq * heads * 3 * head_dim);
  std::vector<float> qkv = before;
  // [readme]
  // GPT-NeoX's query_key_value: [batch, seq, heads, 3 * head_dim], each head's q, k, v in turn.
  const grape::Index step = 3 * head_dim;  // from head to head; strides count elements
  const auto part = [&](grape::Index i) {
    return grape::TensorView<float>(qkv.data() + i * head_dim, {batch, seq, heads, head_dim},
                                    {seq * heads * step, heads * step, step, 1});
  };
  const auto q = part(0), k = part(1), v = part(2);
  grape::RoPE<float, grape::Pairing::half_split> neox(
      grape::spectrum::log_uniform(rotary_dim, 10000.0));  // rotary_pct * head_dim
  grape::apply_rotation(neox, grape::Positions::range(past, seq), q, k);
  // [/readme]
  // Planes (0, 2) and (1, 3) by 1 and 1 / 100 radians a position; the rest, and v, as they were.
  for (Index p = 0; p < 3; ++p) {
    const auto at =
        static_cast<std::size_t>(((1 * seq + position) * heads + 2) * step + p * head_dim);
    for (Index i = 0; i < head_dim; ++i) {
      const double x = before[at + static_cast<std::size_t>(i)];
      const double angle = (past + position) * (i % 2 == 0 ? 1 : 0.01);
      const double other = before[at + static_cast<std::size_t>((i + 2) % rotary_dim)];
      const double want = p == 2 || i >= rotary_dim
                              ? x
                              : x * std::cos(angle) + (i < 2 ? -1 : 1) * other * std::sin(angle);
      EXPECT_NEAR(part(p)(1, position, 2, i), want, p == 2 || i >= rotary_dim ? 0 : kTolerance);
    }
  }
  EXPECT_EQ(v.data(), qkv.data() + 2 * head_dim);
}

TEST(Pages, WeightsChangeTheirPairing) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::vector<float> numbers = random_numbers(2 * head_dim * 3);
  const Matrix w = Eigen::Map<const Matrix>(numbers.data(), 2 * head_dim, 3);
  Matrix interleaved(w.rows(), w.cols());
  // [readme]
  // w [heads * head_dim, model_dim] for half_split, as Hugging Face publishes it, to interleaved.
  for (grape::Index row = 0; row < w.rows(); ++row) {
    const grape::Index i = grape::permuted_coordinate(
        row % head_dim, head_dim / 2, grape::Pairing::half_split, grape::Pairing::interleaved);
    interleaved.row(row - row % head_dim + i) = w.row(row);
  }
  // [/readme]
  const Eigen::Vector3f x(1, -2, 3);
  Matrix a = (w * x).transpose(), b = (interleaved * x).transpose();  // [1, heads * head_dim]
  const grape::RoPE<float, Pairing::half_split> halves(grape::spectrum::log_uniform(head_dim));
  const grape::RoPE<float> pairs(grape::spectrum::log_uniform(head_dim));
  grape::apply_rotation(halves, grape::Positions::range(past, 1), grape::matrix_view(a, 2));
  grape::apply_rotation(pairs, grape::Positions::range(past, 1), grape::matrix_view(b, 2));
  for (Index h = 0; h < 2; ++h) {
    for (Index i = 0; i < head_dim; ++i) {
      const Index to =
          grape::permuted_coordinate(i, head_dim / 2, Pairing::half_split, Pairing::interleaved);
      EXPECT_EQ(a(0, h * head_dim + i), b(0, h * head_dim + to)) << h << ' ' << i;
    }
  }
}

}  // namespace
