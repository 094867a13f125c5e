// SPDX-License-Identifier: Apache-2.0
// A sequence that goes through a cache token by token, and what it may be off by.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <vector>

#include "attention/problem.hpp"

namespace attention {

using grape::Index;

constexpr Index kBatch = 2, kTokens = 150, kHeads = 4, kKeyHeads = 2, kDim = 8, kValueDim = 5;

/// `layout`: of q, k and v.
template <class T>
struct Sequence {
  Strided<T> q, k, v, out;

  explicit Sequence(Random& random, const std::array<std::size_t, 3>& layout = {},
                    Index out_tokens = kTokens)
      : q(layouts(kBatch, kTokens, kHeads, kDim)[layout[0]], random),
        k(layouts(kBatch, kTokens, kKeyHeads, kDim)[layout[1]], random),
        v(layouts(kBatch, kTokens, kKeyHeads, kValueDim)[layout[2]], random),
        out(layouts(kBatch, out_tokens, kHeads, kValueDim)[0], random) {}
};

/// Tokens [first, first + count) of a tensor.
template <class T>
grape::TensorView<T> part(Strided<T>& x, Index first, Index count) {
  const auto t = x.tensor();
  return {count == 0 ? t.data() : &t(0, first, 0, 0),
          {t.batch(), count, t.heads(), t.dim()},
          {t.stride(0), t.stride(1), t.stride(2), t.stride(3)}};
}

/// One batch entry of it.
template <class T>
grape::TensorView<T> entry(const grape::TensorView<T>& t, Index b) {
  return {&t(b, 0, 0, 0),
          {1, t.seq(), t.heads(), t.dim()},
          {t.stride(0), t.stride(1), t.stride(2), t.stride(3)}};
}

/// Two passes are each within the reference's error of the truth; data are below 1. A cached key
/// rounds to T when it comes and each of the `turns` times that it is turned, to which a score of 8
/// products of numbers below 2 answers with 8 units; a turn after the first adds its own roundings.
template <class T>
void expect_near(const std::vector<double>& got, const std::vector<double>& want, double turns) {
  using A = grape::accumulation_t<T>;
  const double stored = std::same_as<T, A> ? 0 : (2 + 8 * turns) * Rounding<T>::unit;
  const double turned = 8 * 6 * 2 * std::max(0.0, turns - 1) * Rounding<A>::unit;
  const double bound =
      2 * Rounding<A>::unit * (2 * (kDim + 40) + 2 * kTokens + 8) + turned + stored;
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], bound) << i;
}

}  // namespace attention
