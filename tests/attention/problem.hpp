// SPDX-License-Identifier: Apache-2.0
// Attention from its definition, in double, one score at a time, and random problems to compare
// with it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "grape/attention/options.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace attention {

using grape::Index;

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Shape {
  Index batch = 1, queries = 1, keys = 1, heads = 1, key_heads = 1, dim = 1, value_dim = 1;
};

struct Rules {
  bool causal = false;
  std::optional<Index> window{};
  std::vector<Index> lengths{}, offsets{};
  double scale = 1;
  std::function<double(Index, Index, Index, Index)> bias{};  // batch, head, query, key

  bool sees(const Shape& s, Index b, Index i, Index j) const {
    const auto entry = static_cast<std::size_t>(b);
    const Index at =
        i + (offsets.empty() ? s.keys - s.queries : offsets[offsets.size() == 1 ? 0 : entry]);
    if (causal && j > at) return false;
    if (window && std::abs(at - j) >= *window) return false;
    return lengths.empty() || j < lengths[entry];
  }
};

struct Result {
  std::vector<double> out;      // [batch, queries, heads, value_dim]
  std::vector<double> error;    // of each, in units of the accumulation's rounding
  std::vector<double> log_sum;  // [batch, heads, queries]
  std::vector<double> log_error;
};

// q [batch, queries, heads, dim], k and v [batch, keys, key_heads, ..], dense.
inline Result attend(const Shape& s, const Rules& rules, const std::vector<double>& q,
                     const std::vector<double>& k, const std::vector<double>& v) {
  Result result;
  const auto rows = static_cast<std::size_t>(s.batch * s.queries * s.heads);
  result.out.assign(rows * static_cast<std::size_t>(s.value_dim), 0);
  result.error = result.out;
  result.log_sum.assign(rows, -kInfinity);
  result.log_error.assign(rows, 0);
  std::vector<double> score(static_cast<std::size_t>(s.keys));
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      const Index kh = h * s.key_heads / s.heads;
      for (Index i = 0; i < s.queries; ++i) {
        const double* qi = q.data() + ((b * s.queries + i) * s.heads + h) * s.dim;
        double most = -kInfinity, sum = 0, slack = 0;
        for (Index j = 0; j < s.keys; ++j) {
          double& x = score[static_cast<std::size_t>(j)];
          x = -kInfinity;
          if (!rules.sees(s, b, i, j)) continue;
          const double* kj = k.data() + ((b * s.keys + j) * s.key_heads + kh) * s.dim;
          double dot = 0, qq = 0, kk = 0;
          for (Index d = 0; d < s.dim; ++d) {
            dot += qi[d] * kj[d];
            qq += qi[d] * qi[d];
            kk += kj[d] * kj[d];
          }
          const double b_ij = rules.bias ? rules.bias(b, h, i, j) : 0;
          x = rules.scale * dot + b_ij;
          if (x == -kInfinity) continue;
          most = std::max(most, x);
          // The product of dim terms, a rotation of either side (6 roundings each), the scale; a
          // bias to 6 roundings; the sum.
          slack = std::max(slack, (static_cast<double>(s.dim) + 16) * std::fabs(rules.scale) *
                                          std::sqrt(qq * kk) +
                                      6 * std::fabs(b_ij) + 2 * std::fabs(x));
        }
        const auto row = static_cast<std::size_t>((b * s.heads + h) * s.queries + i);
        if (most == -kInfinity) continue;
        double* out = result.out.data() + ((b * s.queries + i) * s.heads + h) * s.value_dim;
        double* error = result.error.data() + (out - result.out.data());
        for (double& x : score) sum += x = std::exp(x - most);
        for (Index d = 0; d < s.value_dim; ++d) {
          double magnitude = 0;
          for (Index j = 0; j < s.keys; ++j) {
            const double weight = score[static_cast<std::size_t>(j)] / sum;
            const double value = v[static_cast<std::size_t>(
                ((b * s.keys + j) * s.key_heads + kh) * s.value_dim + d)];
            if (weight == 0) continue;
            out[d] += weight * value;
            magnitude += weight * std::fabs(value);
          }
          // A weight is off by exp(slack) - 1 and so is the sum; sums of `keys` terms, rescaled.
          error[d] = magnitude * (2 * slack + 2 * static_cast<double>(s.keys) + 8);
        }
        result.log_sum[row] = most + std::log(sum);
        result.log_error[row] = slack + static_cast<double>(s.keys) + 4 + std::fabs(most);
      }
    }
  }
  return result;
}

// Tensors of a shape in element type T, in some layouts.
template <class T>
struct Problem {
  Shape shape;
  Strided<T> q, k, v, out;

  Problem(const Shape& s, Random& random, std::size_t layout = 0, double size = 1)
      : shape(s),
        q(layouts(s.batch, s.queries, s.heads, s.dim)[layout], random, size),
        k(layouts(s.batch, s.keys, s.key_heads, s.dim)[(layout + 3) % 10], random, size),
        v(layouts(s.batch, s.keys, s.key_heads, s.value_dim)[(layout + 6) % 10], random, size),
        out(layouts(s.batch, s.queries, s.heads, s.value_dim)[(layout + 1) % 10], random, size) {}
};

template <class A>
std::function<double(Index, Index, Index, Index)> entries_of(const grape::BiasAction<A>& bias,
                                                             Index heads) {
  return [&bias, heads](Index b, Index h, Index i, Index j) {
    return static_cast<double>(
        bias(bias.batch() == 1 ? 0 : b, grape::parameter_set(h, heads, bias.heads()), i, j));
  };
}

// Compares with the reference's result; the tolerance is its error bound and the rounding to T.
template <class T>
testing::AssertionResult close(const std::vector<double>& got, const std::vector<double>& want,
                               const std::vector<double>& error) {
  using A = grape::accumulation_t<T>;
  if (got.size() != want.size()) return testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;
    const double kernel = Rounding<A>::unit * error[i];
    const double store =
        std::same_as<T, A> ? 0
                           : Rounding<T>::unit * (std::fabs(want[i]) + kernel) + Rounding<T>::least;
    if (!(std::fabs(got[i] - want[i]) <= kernel + store)) {
      return testing::AssertionFailure() << "entry " << i << ": " << got[i] << ", wanted "
                                         << want[i] << " within " << kernel + store;
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace attention
