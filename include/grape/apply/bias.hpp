// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/math/prefix_sum.hpp"

namespace grape::inline v0 {
namespace detail {

inline constexpr Index kBiasRows = 8;
inline constexpr Index kBiasColumns = 512;

template <Accumulator A, Element T>
void check_bias(const BiasAction<A>& bias, const ScoreView<T>& scores, std::string_view argument) {
  static_assert(std::same_as<A, accumulation_t<T>>,
                "grape: a BiasAction<float> goes with float, half and bfloat16 scores, a "
                "BiasAction<double> with double scores");
  if (scores.queries() != bias.queries()) {
    fail(text(argument, " queries"), text(scores.queries()),
         text("the ", bias.queries(), " query positions of the bias"));
  }
  if (scores.keys() != bias.keys()) {
    fail(text(argument, " keys"), text(scores.keys()),
         text("the ", bias.keys(), " key positions of the bias"));
  }
  if (bias.batch() != 1 && scores.batch() != bias.batch()) {
    fail(text(argument, " batch"), text(scores.batch()),
         text("the batch ", bias.batch(), " of the bias"));
  }
  check_heads(argument, scores.heads(), bias.heads());
}

template <Accumulator A>
void check_log_forget(const BiasAction<A>& bias, std::span<const double> gradient) {
  if (gradient.empty()) return;
  if (bias.path_size() == 0) {
    fail("gradients.log_forget", text(gradient.size(), " entries"),
         "an empty span: this bias has no log forget gates");
  }
  const auto wanted = static_cast<std::size_t>(bias.batch() * bias.path_size() * bias.heads());
  if (gradient.size() != wanted) {
    fail("gradients.log_forget", text(gradient.size(), " entries"),
         text(bias.batch(), " x ", bias.path_size(), " x ", bias.heads(),
              " (batch x keys x heads of the bias)"));
  }
}

/// Calls visit(tile, first row, first column) for tiles that cover [queries, keys] of one head.
template <class Visit>
void for_each_tile(ScoreTile where, Index queries, Index keys, Visit&& visit) {
  for (where.query = 0; where.query < queries; where.query += kBiasRows) {
    where.queries = std::min(kBiasRows, queries - where.query);
    for (where.key = 0; where.key < keys; where.key += kBiasColumns) {
      where.keys = std::min(kBiasColumns, keys - where.key);
      visit(where);
    }
  }
}

inline namespace GRAPE_ISA {

/// scores[i * stride] += bias[i].
template <class T, class A>
void add_row(const A* GRAPE_RESTRICT bias, Index count, T* GRAPE_RESTRICT scores, Index stride) {
  if (stride == 1) {
    if constexpr (std::same_as<T, A>) {
      for (Index i = 0; i < count; ++i) scores[i] += bias[i];
    } else {
      A sum[kBiasColumns];
      load(scores, 1, count, sum);
      for (Index i = 0; i < count; ++i) sum[i] += bias[i];
      store(sum, 1, count, scores);
    }
  } else {
    for (Index i = 0; i < count; ++i) {
      scores[i * stride] = narrow<T>(static_cast<A>(widen(scores[i * stride]) + bias[i]));
    }
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail

/// Adds the bias to attention scores [batch, heads, queries, keys] in place: scores += b_h(i, j).
/// The bias is not divided by sqrt(head_dim); add it to scores that already are. Memory beside the
/// scores does not depend on their size. half and bfloat16 compute in float and round once. An
/// empty view is left alone.
///
/// Throws ArgumentError, before anything is written, if the batch, heads, queries or keys of the
/// view do not fit the action.
template <Accumulator A, Element T, Executor E = Serial>
requires(!std::is_const_v<T>) void add_bias(const BiasAction<A>& bias, ScoreView<T> scores,
                                            const E& executor = {}) {
  if (scores.empty()) return;
  detail::check_bias(bias, scores, "scores");
  const Index heads = scores.heads();
  executor.run(scores.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads;
    const ScoreTile where{
        bias.batch() == 1 ? 0 : b, parameter_set(h, heads, bias.heads()), 0, 0, 0, 0};
    alignas(64) A tile[detail::kBiasRows * detail::kBiasColumns];
    detail::for_each_tile(where, scores.queries(), scores.keys(), [&](const ScoreTile& t) {
      bias.tile(t, tile, detail::kBiasColumns);
      for (Index r = 0; r < t.queries; ++r) {
        detail::add_row(tile + r * detail::kBiasColumns, t.keys, &scores(b, h, t.query + r, t.key),
                        scores.stride(3));
      }
    });
  });
}

/// The gradients of add_bias with respect to the bias's parameters, added to what `gradients`
/// names, from the gradient of the scores (which is also the gradient of the scores that came in).
/// Sums are taken in double, in an order that does not depend on the executor. Memory beside them
/// is O(keys) a head of the scores where log forget gates are asked for.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, and where log
/// forget gates are asked of a bias that has none.
template <Accumulator A, Element T, Executor E = Serial>
void add_bias_vjp(const BiasAction<A>& bias, ScoreView<T> d_scores, BiasGradients gradients,
                  const E& executor = {}) {
  const auto sets = static_cast<std::size_t>(bias.heads());
  if (!gradients.slopes.empty() && gradients.slopes.size() != sets) {
    detail::fail("gradients.slopes", detail::text(gradients.slopes.size(), " entries"),
                 detail::text(sets, ", one a parameter head of the bias"));
  }
  detail::check_log_forget(bias, gradients.log_forget);
  if (d_scores.empty()) return;
  detail::check_bias(bias, d_scores, "d_scores");
  const Index heads = d_scores.heads();
  const auto tasks = static_cast<std::size_t>(d_scores.batch() * heads);
  std::vector<double> partial(gradients.slopes.empty() ? 0 : tasks * sets, 0.0);
  const auto path = static_cast<std::size_t>(gradients.log_forget.empty() ? 0 : bias.path_size());
  std::vector<double> d_path(tasks * path, 0.0);
  executor.run(d_scores.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads;
    BiasGradients mine;
    mine.path = std::span<double>(d_path).subspan(static_cast<std::size_t>(i) * path, path);
    if (!partial.empty()) {
      mine.slopes = std::span<double>(partial).subspan(static_cast<std::size_t>(i) * sets, sets);
    }
    const ScoreTile where{
        bias.batch() == 1 ? 0 : b, parameter_set(h, heads, bias.heads()), 0, 0, 0, 0};
    alignas(64) A tile[detail::kBiasRows * detail::kBiasColumns];
    detail::for_each_tile(where, d_scores.queries(), d_scores.keys(), [&](const ScoreTile& t) {
      for (Index r = 0; r < t.queries; ++r) {
        detail::load(&d_scores(b, h, t.query + r, t.key), d_scores.stride(3), t.keys,
                     tile + r * detail::kBiasColumns);
      }
      bias.tile_vjp(t, tile, detail::kBiasColumns, mine);
    });
  });
  for (std::size_t i = 0; i < partial.size(); ++i) gradients.slopes[i % sets] += partial[i];
  if (path == 0) return;
  for (Index i = 0; i < d_scores.batch() * heads; ++i) {
    const Index b = bias.batch() == 1 ? 0 : i / heads;
    const Index set = parameter_set(i % heads, heads, bias.heads());
    double* out = gradients.log_forget.data() + b * bias.path_size() * bias.heads() + set;
    const double* mine = d_path.data() + i * bias.path_size();
    suffix_sums(
        bias.path_size(), [&](Index t) { return mine[t]; },
        [&](Index t, double sum) { out[t * bias.heads()] += sum; });
  }
}

}  // namespace grape::inline v0
