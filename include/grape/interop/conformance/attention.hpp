// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/bias.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation.hpp"

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
  std::span<const double> frequencies{};  ///< [dim / 2]: q and k are turned (RoPE); or empty
  std::span<const double> slopes{};       ///< [heads]: ALiBi's bias is added; or empty
  Pairing pairing = Pairing::interleaved;
};

/// Which encoding the kernel computes.
enum class AttentionFamily { plain, rope, alibi };

/// What the kernel claims, and how exact it must be.
struct AttentionOptions {
  AttentionFamily family = AttentionFamily::plain;
  /// Whether the kernel takes fewer queries than keys (decoding).
  bool decode = true;
  /// What is allowed, in roundings of T (half an epsilon) times the greatest value. The logits'
  /// roundings come to the weights through the exponential.
  double roundings = 64;
};

namespace detail {

/// Mistakes that the plain statement can make, to tell wrong kernels apart.
enum class Mistake { none, no_scale, not_causal, strictly_causal, no_encoding, first_query };

template <Element T>
std::vector<double> attention_of(const AttentionCase<T>& c, Mistake mistake = Mistake::none) {
  const Index heads = c.q.heads(), dim = c.q.dim(), queries = c.q.seq(), keys = c.k.seq();
  const Index first = mistake == Mistake::first_query ? 0 : c.first_query;
  const auto turned = [&](const TensorView<const T>& x, Index begin) {
    std::vector<T> dense(x.data(), x.data() + x.seq() * heads * dim);
    std::vector<std::int64_t> positions(static_cast<std::size_t>(x.seq()));
    std::iota(positions.begin(), positions.end(), c.first_position + begin);
    const auto frequencies =
        mistake == Mistake::no_encoding ? std::span<const double>{} : c.frequencies;
    return rotated(dense, {positions, frequencies, 0, c.pairing}, heads, dim);
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
          logit += static_cast<double>(j - at) * c.slopes[static_cast<std::size_t>(h)];
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

template <Element T, class Kernel>
class AttentionChecks {
 public:
  AttentionChecks(Kernel& kernel, const AttentionOptions& options)
      : kernel_(kernel), options_(options) {}

  Report run() {
    golden();
    formula();
    laws();
    return std::move(report_);
  }

 private:
  using List = std::vector<T>;

  AttentionCase<T> one(const List& q, const List& k, const List& v, Index heads, Index dim,
                       Index first_query = 0) {
    const auto view = [&](const List& x) {
      return blhd(x.data(), 1, static_cast<Index>(x.size()) / (heads * dim), heads, dim);
    };
    frequencies_.clear();
    if (options_.family == AttentionFamily::rope) {
      for (Index m = 0; m < dim / 2; ++m) {
        frequencies_.push_back(
            std::pow(10000.0, -2 * static_cast<double>(m) / static_cast<double>(dim)));
      }
    }
    AttentionCase<T> c{view(q), view(k),      view(v), first_query,
                       0,       frequencies_, {},      Pairing::interleaved};
    if (options_.family == AttentionFamily::alibi) {
      c.slopes = std::span<const double>(slopes_).first(static_cast<std::size_t>(heads));
    }
    return c;
  }
  List attended(const AttentionCase<T>& c) {
    List out(static_cast<std::size_t>(c.q.seq() * c.q.heads() * c.q.dim()));
    kernel_(c, blhd(out.data(), 1, c.q.seq(), c.q.heads(), c.q.dim()));
    return out;
  }
  double allowed(double greatest) const { return greatest * options_.roundings * rounding<T>(); }

  void golden() {
    const double* out = golden::kPlainOut;
    if (options_.family == AttentionFamily::rope) out = golden::kRopeOut;
    if (options_.family == AttentionFamily::alibi) out = golden::kAlibiOut;
    const std::size_t count = std::size(golden::kAttentionQ);
    const List q = rounded<T>(golden::kAttentionQ, count);
    const List k = rounded<T>(golden::kAttentionK, count);
    const List v = rounded<T>(golden::kAttentionV, count);
    report_.expect("golden", worst(attended(one(q, k, v, 1, 8)), {out, out + count}), allowed(4),
                   "attention [1, 5, 1, 8] by public reference code");
  }

  void formula() {
    const List q = numbers_.list<T>(kSeq * kHeads * kDim),
               k = numbers_.list<T>(kSeq * kHeads * kDim),
               v = numbers_.list<T>(kSeq * kHeads * kDim);
    check_formula(one(q, k, v, kHeads, kDim), "formula");
    if (!options_.decode) return;
    const List last(q.end() - 2 * kHeads * kDim, q.end());
    check_formula(one(last, k, v, kHeads, kDim, kSeq - 2), "decode");
  }

  void check_formula(const AttentionCase<T>& c, std::string_view name) {
    const List got = attended(c);
    const double error = worst(got, attention_of(c)), limit = allowed(1);
    std::string_view what = "attention [1, queries, 2, 12] against the formula";
    const auto is = [&](Mistake mistake) {
      return !(error <= limit) && worst(got, attention_of(c, mistake)) <= limit;
    };
    if (is(Mistake::no_scale)) {
      name = "scale", what = "logits are not divided by sqrt(dim)";
    } else if (is(Mistake::not_causal)) {
      name = "causal", what = "sees the keys after the query";
    } else if (is(Mistake::strictly_causal)) {
      name = "causal", what = "does not see the query's own key";
    } else if (is(Mistake::first_query)) {
      name = "offset", what = "takes query 0 for key 0";
    } else if (is(Mistake::no_encoding)) {
      name = "encoding", what = "leaves the rotation or the bias out";
    }
    report_.expect(name, error, limit, what);
  }

  /// Weights sum to 1 and are positive; later tokens do not matter; only offsets are seen.
  void laws() {
    const Index count = kSeq * kHeads * kDim;
    const List q = numbers_.list<T>(count), k = numbers_.list<T>(count);
    const List ones(static_cast<std::size_t>(count), static_cast<T>(1.0F));
    report_.expect("weights",
                   worst(attended(one(q, k, ones, kHeads, kDim)),
                         std::vector<double>(static_cast<std::size_t>(count), 1.0)),
                   allowed(1), "the mean of equal values");
    const List v = numbers_.list<T>(count);
    List k1 = k, v1 = v;
    for (auto i = static_cast<std::size_t>((kSeq - 2) * kHeads * kDim); i < k1.size(); ++i) {
      k1[i] = static_cast<T>(0.5F), v1[i] = static_cast<T>(9.0F);
    }
    AttentionCase<T> c = one(q, k, v, kHeads, kDim);
    const List got = attended(c), after = attended(one(q, k1, v1, kHeads, kDim));
    double future = 0, relative = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>((kSeq - 2) * kHeads * kDim); ++i) {
      future =
          worse(future, std::fabs(static_cast<double>(got[i]) - static_cast<double>(after[i])));
    }
    report_.expect("causal", future, allowed(1), "later keys and values changed earlier outputs");
    c = one(q, k, v, kHeads, kDim);
    c.first_position = 5000;
    const List moved = attended(c);
    for (std::size_t i = 0; i < got.size(); ++i) {
      relative =
          worse(relative, std::fabs(static_cast<double>(got[i]) - static_cast<double>(moved[i])));
    }
    report_.expect("relative", relative, 2 * allowed(1) + 5000 * 0x1p-50,
                   "all tokens moved by 5000 positions");
    // Logits of 200 and more: the exponential of them is no float.
    List large = q;
    for (T& x : large) x = static_cast<T>(static_cast<float>(x) * 1000.0F);
    double finite = 0;
    for (const T x : attended(one(large, k, v, kHeads, kDim))) {
      finite = worse(finite, std::fabs(static_cast<double>(x)));
    }
    report_.expect("stable", finite, 1 + allowed(1), "the greatest output of logits of hundreds");
  }

  static constexpr Index kSeq = 7, kHeads = 2, kDim = 12;

  Kernel& kernel_;
  const AttentionOptions& options_;
  Numbers numbers_{11};
  Report report_;
  std::vector<double> frequencies_;
  const std::vector<double> slopes_{0.0625, 0.00390625};  // of 2 heads, as published
};

}  // namespace detail

/// Checks an attention kernel of your own, `kernel(const AttentionCase<T>&, TensorView<T> out)`.
/// The checks:
///
///   golden     numbers by public reference code
///   formula    the formula in double, `decode` for the last 2 queries of 7 keys; in place of them
///              `scale`, `causal`, `offset` (query 0 taken for key 0) or `encoding` (none applied)
///   weights    equal values come out as they are
///   causal     what comes later does not matter
///   relative   only offsets matter
///   stable     logits of hundreds neither overflow nor make NaN
template <Element T, class Kernel>
requires std::invocable < Kernel&, const AttentionCase<T>
&, TensorView < T >> Report check_attention(Kernel&& kernel, const AttentionOptions& options = {}) {
  return detail::AttentionChecks<T, Kernel>(kernel, options).run();
}

}  // namespace grape::inline v0::conformance
