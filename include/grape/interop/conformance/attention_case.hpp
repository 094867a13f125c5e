// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/rotation_case.hpp"

namespace grape::inline v0::conformance {

/// What an attention kernel is asked to do: out = softmax(q k^T / sqrt(dim) + bias) v, causally.
/// q and out are [1, queries, heads, dim], k and v [1, keys, heads, dim]; query i is the token of
/// key i + first_query, sees the keys up to that one, and key j stands at first_position + j.
template <Element T>
struct AttentionCase {
  TensorView<const T> q;  ///< queries
  TensorView<const T> k;  ///< keys
  TensorView<const T> v;  ///< values
  Index first_query = 0;
  std::int64_t first_position = 0;
  std::span<const double> frequencies{};   ///< [dim / 2]: q and k are turned (RoPE); or empty
  std::span<const double> slopes{};        ///< [heads]: ALiBi's bias is added; or empty
  Pairing pairing = Pairing::interleaved;  ///< of the rotation, as the options say
};

/// Which encoding the kernel computes.
enum class AttentionFamily { plain, rope, alibi };

/// What the kernel claims, and how exact it must be.
struct AttentionOptions {
  AttentionFamily family = AttentionFamily::plain;
  /// How the rotation of AttentionFamily::rope pairs coordinates.
  Pairing pairing = Pairing::interleaved;
  /// Whether the kernel takes fewer queries than keys (decoding).
  bool decode = true;
  /// The last position that the kernel must be right for, >= 32: the length of its table minus 1,
  /// or of the context. No check goes beyond it. Positions up to 20006 are tried.
  std::int64_t greatest_position = 2147483647;
  /// What is allowed, in roundings of T (half an epsilon) times the greatest value, > 0. The
  /// logits' roundings come to the weights through the exponential.
  double roundings = 64;
  /// How exact the rotation's angles are, as RotationOptions::angle_error.
  double angle_error = 0x1p-52;
};

namespace detail {

/// Mistakes that the plain statement can make, to tell wrong kernels apart.
enum class Mistake {
  none,
  no_scale,
  not_causal,
  strictly_causal,
  no_encoding,
  first_query,
  direction,
  pairing,
  scaled_bias
};

template <Element T>
std::vector<double> attention_of(const AttentionCase<T>& c, Mistake mistake = Mistake::none) {
  const Index heads = c.q.heads(), dim = c.q.dim(), queries = c.q.seq(), keys = c.k.seq();
  const Index first = mistake == Mistake::first_query ? 0 : c.first_query;
  const double sign = mistake == Mistake::direction ? -1 : 1;
  const auto turned = [&](const TensorView<const T>& x, Index begin) {
    std::vector<T> dense(x.data(), x.data() + x.seq() * heads * dim);
    std::vector<std::int64_t> positions(static_cast<std::size_t>(x.seq()));
    std::iota(positions.begin(), positions.end(), c.first_position + begin);
    const auto frequencies =
        mistake == Mistake::no_encoding ? std::span<const double>{} : c.frequencies;
    const bool as_asked = mistake != Mistake::pairing;
    const Pairing pairing = (c.pairing == Pairing::interleaved) == as_asked ? Pairing::interleaved
                                                                            : Pairing::half_split;
    return rotated(dense, {positions, frequencies, 0, pairing}, heads, dim, sign);
  };
  const std::vector<double> q = turned(c.q, first), k = turned(c.k, 0);
  const double scale = mistake == Mistake::no_scale ? 1 : 1 / std::sqrt(static_cast<double>(dim));
  std::vector<double> out(static_cast<std::size_t>(queries * heads * dim));
  std::vector<double> weights(static_cast<std::size_t>(keys));
  for (Index h = 0; h < heads; ++h) {
    for (Index i = 0; i < queries; ++i) {
      const Index at = i + first;
      Index end = (std::min)(at + 1, keys);
      if (mistake == Mistake::not_causal) end = keys;
      if (mistake == Mistake::strictly_causal) end = (std::max<Index>)(1, end - 1);
      double sum = 0;
      for (Index j = 0; j < end; ++j) {
        double logit = 0;
        for (Index d = 0; d < dim; ++d) {
          logit += q[static_cast<std::size_t>((i * heads + h) * dim + d)] *
                   k[static_cast<std::size_t>((j * heads + h) * dim + d)];
        }
        logit *= scale;
        if (!c.slopes.empty() && mistake != Mistake::no_encoding) {
          logit += sign * (mistake == Mistake::scaled_bias ? scale : 1) *
                   static_cast<double>(j - at) * c.slopes[static_cast<std::size_t>(h)];
        }
        weights[static_cast<std::size_t>(j)] = logit;
      }
      const double most = *std::max_element(weights.begin(), weights.begin() + end);
      for (Index j = 0; j < end; ++j) {
        double& w = weights[static_cast<std::size_t>(j)];
        sum += w = std::exp(w - most);
      }
      for (Index j = 0; j < end; ++j) {
        for (Index d = 0; d < dim; ++d) {
          out[static_cast<std::size_t>((i * heads + h) * dim + d)] +=
              weights[static_cast<std::size_t>(j)] / sum * static_cast<double>(c.v(0, j, h, d));
        }
      }
    }
  }
  return out;
}

}  // namespace detail

}  // namespace grape::inline v0::conformance
