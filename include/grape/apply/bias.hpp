// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/encoder/sum_bias.hpp"

namespace grape::inline v0 {
namespace detail {

/// Rows of a task's tile where scores are added to in place, and the tile that is copied where they
/// are of another type or not dense: 16 KB of floats.
inline constexpr Index kBiasRows = 64;
inline constexpr Index kBiasBufferRows = 8;
inline constexpr Index kBiasColumns = 512;

/// Whether a bias of A goes with scores of T; a mistake is said once, here, and by what asks before
/// it instantiates more, alone.
template <class A, class T>
consteval bool goes_with_scores() {
  static_assert(std::same_as<A, accumulation_t<T>>,
                "grape: a BiasAction<float> goes with float, half and bfloat16 scores, a "
                "BiasAction<double> with double scores");
  return std::same_as<A, accumulation_t<T>>;
}

/// Whether it can be added to them.
template <class A, class T>
consteval bool adds_to_scores() {
  static_assert(!std::is_const_v<T>,
                "grape: add_bias works in place: pass a view of scores that are not const");
  return goes_with_scores<A, T>() && !std::is_const_v<T>;
}

template <class A>
void as_bias_action(const BiasAction<A>&);
template <class X>
concept SomeBiasAction = requires(const X& x) {
  as_bias_action(x);
};
template <class T>
void as_score_view(const ScoreView<T>&);
template <class X>
concept SomeScoreView = requires(const X& x) {
  as_score_view(x);
};

template <Accumulator A, Element T>
void check_bias(const BiasAction<A>& bias, const ScoreView<T>& scores, std::string_view argument) {
  static_cast<void>(goes_with_scores<A, T>());
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

inline void check_gradient(std::string_view argument, std::size_t got, Index wanted) {
  if (got == 0 || static_cast<Index>(got) == wanted) return;
  fail(argument, text(got, " entries"),
       wanted == 0 ? "an empty span: this bias has no such gradient"
                   : text(wanted, " entries (see BiasGradients for the shape)"));
}

template <Accumulator A>
void check_gradients(const BiasAction<A>& bias, const BiasGradients& gradients) {
  const BiasGradientSizes wanted = bias.gradient_sizes();
  check_gradient("gradients.slopes", gradients.slopes.size(), wanted.slopes);
  check_gradient("gradients.log_forget", gradients.log_forget.size(), wanted.log_forget);
  check_gradient("gradients.query_gates", gradients.query_gates.size(), wanted.query_gates);
  check_gradient("gradients.key_gates", gradients.key_gates.size(), wanted.key_gates);
  check_gradient("gradients.features", gradients.features.size(), wanted.features);
  check_gradient("gradients.path", gradients.path.size(), 0);
}

/// Calls visit(tile) for tiles of [queries, keys] of one head: runs of queries from the first to
/// the last, and in each the keys from the last to the first (see BiasSource).
template <class Visit>
void for_each_tile_backwards(ScoreTile where, Index queries, Index keys, Visit&& visit) {
  for (where.query = 0; where.query < queries; where.query += kBiasBufferRows) {
    where.queries = (std::min)(kBiasBufferRows, queries - where.query);
    for (where.key = (keys - 1) / kBiasColumns * kBiasColumns; where.key >= 0;
         where.key -= kBiasColumns) {
      where.keys = (std::min)(kBiasColumns, keys - where.key);
      visit(where);
    }
  }
}

/// The tiles of one head of the scores' gradient, keys from the first to the last.
template <class A, class T>
void head_vjp(const BiasAction<A>& bias, const ScoreView<T>& d_scores, Index b, Index h,
              ScoreTile where, const BiasGradients& gradients) {
  alignas(64) A tile[kBiasBufferRows * kBiasColumns];
  for (; where.query < d_scores.queries(); where.query += kBiasBufferRows) {
    where.queries = (std::min)(kBiasBufferRows, d_scores.queries() - where.query);
    double before[kBiasBufferRows] = {};
    for (where.key = 0; where.key < d_scores.keys(); where.key += kBiasColumns) {
      where.keys = (std::min)(kBiasColumns, d_scores.keys() - where.key);
      for (Index r = 0; r < where.queries; ++r) {
        load(&d_scores(b, h, where.query + r, where.key), d_scores.stride(3), where.keys,
             tile + r * kBiasColumns);
      }
      bias.tile_vjp(where, tile, kBiasColumns, before, gradients);
      for (Index r = 0; r < where.queries; ++r) {
        for (Index c = 0; c < where.keys; ++c) {
          before[r] += static_cast<double>(tile[r * kBiasColumns + c]);
        }
      }
    }
  }
}

/// The gradients of a bias that is no sum, all checked.
template <class A, class T, class E>
void leaf_vjp(const BiasAction<A>& bias, const ScoreView<T>& d_scores,
              const BiasGradients& gradients, const E& executor) {
  const Index sets = bias.heads(), heads = d_scores.heads();
  const auto of_sets = static_cast<std::size_t>(gradients.slopes.empty() ? 0 : sets);
  std::vector<double> partial(static_cast<std::size_t>(bias.batch()) * of_sets, 0.0);
  // A task for each batch entry and head of the bias: no two write to the same gradients, but for
  // the slopes, which batch entries share.
  executor.run(bias.batch() * sets, [&](Index i) {
    const Index batch = i / sets, set = i % sets;
    BiasGradients mine = gradients;
    mine.slopes =
        std::span<double>(partial).subspan(static_cast<std::size_t>(batch) * of_sets, of_sets);
    const bool of_path = !gradients.log_forget.empty() || !gradients.features.empty();
    const Index path = of_path ? bias.gradient_sizes().path : 0;
    std::vector<double> d_path(static_cast<std::size_t>(path), 0.0);
    mine.path = d_path;
    for (Index b = 0; b < d_scores.batch(); ++b) {
      if (bias.batch() != 1 && b != batch) continue;
      for (Index h = 0; h < heads; ++h) {
        if (parameter_set(h, heads, sets) != set) continue;
        head_vjp(bias, d_scores, b, h, ScoreTile{batch, set, 0, 0, 0, 0}, mine);
      }
    }
    bias.finish_vjp(batch, set, mine);
  });
  for (std::size_t i = 0; i < partial.size(); ++i) gradients.slopes[i % of_sets] += partial[i];
}

/// add_bias() to scores that fit.
template <class A, class T, Executor E>
void add_to_scores(const BiasAction<A>& bias, const ScoreView<T>& scores, const E& executor) {
  const Index heads = scores.heads();
  executor.run(scores.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads;
    ScoreTile where{
        bias.batch() == 1 ? 0 : b, parameter_set(h, heads, bias.heads()), 0, 0, 0, scores.keys()};
    if constexpr (std::same_as<T, A>) {
      if (scores.stride(3) == 1) {
        for (; where.query < scores.queries(); where.query += kBiasRows) {
          where.queries = (std::min)(kBiasRows, scores.queries() - where.query);
          double carry[kBiasRows] = {};
          bias.add_tile(where, &scores(b, h, where.query, 0), scores.stride(2), carry);
        }
        return;
      }
    }
    alignas(64) A tile[kBiasBufferRows * kBiasColumns];
    double carry[kBiasBufferRows];
    const auto row = [&](Index r) { return tile + r * kBiasColumns; };
    for_each_tile_backwards(where, scores.queries(), scores.keys(), [&](const ScoreTile& t) {
      if (t.key + t.keys == scores.keys()) std::fill_n(carry, kBiasBufferRows, 0.0);
      for (Index r = 0; r < t.queries; ++r) {
        load(&scores(b, h, t.query + r, t.key), scores.stride(3), t.keys, row(r));
      }
      bias.add_tile(t, tile, kBiasColumns, carry);
      for (Index r = 0; r < t.queries; ++r) {
        store(row(r), scores.stride(3), t.keys, &scores(b, h, t.query + r, t.key));
      }
    });
  });
}

}  // namespace detail

/// Adds the bias to attention scores [batch, heads, queries, keys] in place: scores += b_h(i, j).
/// The bias is not divided by sqrt(head_dim); add it to scores that already are. Memory beside the
/// scores does not depend on their size. half and bfloat16 compute in float and round once. An
/// empty view is left alone.
///
/// Throws ArgumentError, before anything is written, if the batch, heads, queries or keys of the
/// view do not fit the action.
template <Accumulator A, Element T, Executor E = Serial>
void add_bias(const BiasAction<A>& bias, ScoreView<T> scores, const E& executor = {}) {
  if constexpr (detail::adds_to_scores<A, T>()) {
    if (scores.empty()) return;
    detail::check_bias(bias, scores, "scores");
    detail::add_to_scores(bias, scores, executor);
  }
}

/// Says what is missing where a bias comes without positions, or scores without a view.
template <class Bias, class Scores, class... Rest>
requires(!detail::SomeBiasAction<Bias> ||
         !detail::SomeScoreView<Scores>) void add_bias(const Bias&, const Scores&, const Rest&...) {
  if constexpr (!detail::SomeBiasAction<Bias>) {
    static_assert(sizeof(Bias) == 0,
                  "grape: add_bias takes the action that an encoder's at() returns: "
                  "add_bias(alibi.at(query_positions, key_positions), scores)");
  } else {
    static_assert(sizeof(Scores) == 0,
                  "grape: add_bias adds to a view of scores: bhqk(pointer, batch, heads, queries, "
                  "keys), a ScoreView");
  }
}

/// The gradients of add_bias with respect to the bias's parameters, added to what `gradients`
/// names, from the gradient of the scores (which is also the gradient of the scores that came in).
/// Sums are taken in double, in an order that does not depend on the executor. Memory beside them
/// is O(keys) a parameter head where log forget gates are asked for.
///
/// A sum of biases takes the gradients of its parts in BiasGradients::parts.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, and where a
/// gradient is asked of a bias that has none of the kind.
template <Accumulator A, Element T, Executor E = Serial>
void add_bias_vjp(const BiasAction<A>& bias, ScoreView<T> d_scores, BiasGradients gradients,
                  const E& executor = {}) {
  detail::for_each_leaf(bias, gradients,
                        [](const BiasAction<A>& leaf, const BiasGradients& of_leaf) {
                          detail::check_gradients(leaf, of_leaf);
                        });
  if (d_scores.empty()) return;
  detail::check_bias(bias, d_scores, "d_scores");
  detail::for_each_leaf(bias, gradients,
                        [&](const BiasAction<A>& leaf, const BiasGradients& of_leaf) {
                          detail::leaf_vjp(leaf, d_scores, of_leaf, executor);
                        });
}

}  // namespace grape::inline v0
