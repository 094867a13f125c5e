// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/edge_panel.hpp"
#include "grape/encoder/detail/edge_probes.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/path/cumulative.hpp"
#include "grape/path/path_integral.hpp"

namespace grape::inline v0 {

/// The bias of a unipotent generator on a path integral, GRAPE-AP (equations 5.1 and 5.2):
///
///   b_h(t, j) = sum_{l = j+1..t} alpha_h g(<p_t, R_l p_l> / d)    for tokens j <= t,
///
/// so that b(t, t) = 0, and after that -infinity (Future::mask) or 0 (Future::zero). Memory is that
/// of the probes, O(seq). A tile is a product of probes [queries, d] x [d, keys], the link, and
/// sums from the right. Edges are computed in A: with features of rms 1 an edge is off by some d
/// roundings of alpha_h at most, and sums of edges of one sign add 6 roundings.
template <Accumulator A, EdgeLink Link = LogSigmoidLink>
class PathIntegralBias {
 public:
  /// From features [batch, seq, sets or 1, width] of all keys; the queries are the tokens of
  /// `range` among them. One head of features serves all sets. Throws ArgumentError, and changes
  /// nothing, for other shapes and for Future::symmetric: an edge knows which of its tokens asks.
  template <Element T>
  void assign(std::span<const double> slopes, const PathIntegralPath<Link>& path,
              const TensorView<T>& features, const QueryRange& range, Future future) {
    const auto sets = static_cast<Index>(slopes.size());
    detail::check_path_integral(path);
    check_features(features, sets);
    detail::check_query_range(range, features.seq());
    if (future == Future::symmetric) {
      detail::fail("future", "Future::symmetric",
                   "Future::mask or Future::zero: an edge is between a token and an earlier one");
    }
    slopes_.reserve(slopes.size());
    probes_.assign(features, range, rule_of(path));
    slopes_.assign(slopes.begin(), slopes.end());
    link_ = path.link;
    range_ = range;
    future_ = future;
  }

  /// Throws ArgumentError unless append() can take these.
  template <Element T>
  void check_append(std::span<const double> slopes, const PathIntegralPath<Link>& path,
                    const TensorView<T>& features) const {
    detail::check_same_slopes(slopes, slopes_);
    detail::check_path_integral(path);
    if (!(rule_of(path) == probes_.rule())) {
      detail::fail("path", "other options", "the convention, pairing and epsilon of the action");
    }
    check_features(features, heads());
    detail::check_same_batch("features", features.batch(), batch());
    if (features.heads() != probes_.heads() || features.dim() != probes_.width()) {
      detail::fail("features", detail::text(features.heads(), " heads of width ", features.dim()),
                   detail::text("the ", probes_.heads(), " heads of width ", probes_.width(),
                                " of the action"));
    }
  }
  /// The features of tokens that follow those so far; they become the queries.
  template <Element T>
  void append(const TensorView<T>& features) {
    const Index before = keys();
    probes_.append(features);
    range_ = {before, features.seq()};
  }
  /// Keeps the first `keys` tokens, and no query.
  void truncate(Index keys) {
    probes_.truncate(keys);
    range_ = {keys, 0};
  }

  Index batch() const { return probes_.batch(); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return range_.count; }
  Index keys() const { return probes_.keys(); }
  /// The gradient of features that all sets share comes for each set apart: their sum is theirs.
  BiasGradientSizes gradient_sizes() const {
    return {.slopes = heads(),
            .features = batch() * keys() * heads() * probes_.width(),
            .path = probes_.gradient_size()};
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    constexpr Index R = detail::kEdgeRows;
    ScoreTile rest = where;  // the keys behind the tile, whose edges every entry holds
    rest.key = where.key + where.keys;
    rest.keys = keys() - rest.key;
    for (Index r = 0; r < where.queries; ++r) std::fill_n(out + r * row_stride, where.keys, A(0));
    for (Index r = 0; r < where.queries; r += R) {
      double carry[R] = {};
      ScoreTile rows = where;
      rest.query = rows.query = where.query + r;
      rest.queries = rows.queries = (std::min)(R, where.queries - r);
      add<false>(rest, nullptr, 0, carry);
      add<true>(rows, out + r * row_stride, row_stride, carry);
    }
  }

  /// carry[r] holds the sum of the edges (t, l) of row r's token t for l behind the tile.
  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    add<true>(where, scores, row_stride, carry);
  }

  /// No entry exceeds the sum of as many edges as it has at least, each at the largest product that
  /// its probes allow; unknown (infinity) for links that do not say that they increase.
  A upper_bound(const ScoreTile& where) const {
    constexpr A kUnknown = std::numeric_limits<A>::infinity();
    constexpr double kSlack = 64 * static_cast<double>(std::numeric_limits<A>::epsilon());
    if constexpr (requires { requires Link::increasing; }) {
      const Index first = range_.start + where.query, last = first + where.queries - 1;
      if (where.queries == 0 || where.keys == 0 || last < where.key) {  // no edge
        return future_ == Future::zero ? A(0) : -kUnknown;
      }
      const double slope = slopes_[static_cast<std::size_t>(where.head)];
      if (slope < 0) return kUnknown;
      double reach = 0;
      for (Index r = 0; r < where.queries; ++r) {
        const double here = probes_.reach(row_of(where), where.query + r);
        if (!detail::is_finite(here)) return kUnknown;
        reach = (std::max)(reach, here);
      }
      const double edge = slope * static_cast<double>(link_(reach));
      const Index edges = edge > 0 ? std::max<Index>(last - where.key, 0)
                                   : std::max<Index>(first - (where.key + where.keys - 1), 0);
      const bool future = future_ == Future::zero && where.key + where.keys - 1 > first;
      const double bound = edges == 0 ? 0 : edge * static_cast<double>(edges);
      constexpr double kLeast = (std::numeric_limits<A>::min)();  // an edge may underflow to 0
      const double slack = std::fabs(bound) * kSlack + kLeast * static_cast<double>(edges);
      const auto loose = static_cast<A>(bound + slack);
      return future ? (std::max)(loose, A(0)) : loose;
    } else {
      return kUnknown;
    }
  }

  /// Accumulates, in double, with D(t, l) = sum of d b(t, j) over j < l:
  ///   d alpha_h += sum D g(x),   d q_t += sum_l D alpha_h g'(x) k_l,   d k_l likewise,
  /// x = <q_t, k_l>; those of the probes in `path`, where features are asked for.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* before,
                const BiasGradients& gradients) const {
    constexpr Index R = detail::kEdgeRows;
    Index r = 0;
    for (; r + R <= where.queries; r += R) {
      rows_vjp<R>(where, r, d_tile + r * row_stride, row_stride, before + r, gradients);
    }
    for (; r < where.queries; ++r) {
      rows_vjp<1>(where, r, d_tile + r * row_stride, row_stride, before + r, gradients);
    }
  }

  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    if (gradients.features.empty()) return;
    const Index width = probes_.width();
    double* out = gradients.features.data() + (batch * keys() * heads() + head) * width;
    probes_.add_feature_gradient(row_of({batch, head, 0, 0, 0, 0}), gradients.path, out,
                                 heads() * width);
  }

 private:
  static constexpr Index kPanel = detail::kEdgePanel;

  static detail::ProbeRule rule_of(const PathIntegralPath<Link>& path) {
    constexpr double kEpsilon = std::numeric_limits<A>::epsilon();
    return {path.convention, path.pairing, path.epsilon.value_or(kEpsilon)};
  }

  template <class T>
  static void check_features(const TensorView<T>& features, Index sets) {
    if (features.heads() != sets && features.heads() != 1) {
      detail::fail("features heads", detail::text(features.heads()),
                   detail::text("the ", sets, " heads of the generator, or 1 for all of them"));
    }
    if (features.dim() < 1) {
      detail::fail("features dim", detail::text(features.dim()), "a width >= 1");
    }
  }

  Index row_of(const ScoreTile& where) const {
    return where.batch * probes_.heads() + (probes_.heads() == 1 ? 0 : where.head);
  }

  /// Adds the tile's bias where `write`, and its edges to carry.
  template <bool write>
  void add(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    constexpr Index R = detail::kEdgeRows;
    Index r = 0;
    for (; r + R <= where.queries; r += R) {
      add_rows<R, write>(where, r, scores + r * row_stride, row_stride, carry + r);
    }
    for (; r < where.queries; ++r) {
      add_rows<1, write>(where, r, scores + r * row_stride, row_stride, carry + r);
    }
  }

  template <Index R, bool write>
  void add_rows(const ScoreTile& where, Index first_row, A* scores, Index row_stride,
                double* carry) const {
    const Index row = row_of(where), first = where.query + first_row;
    const Index token = range_.start + first;  // of the first of the rows
    const auto slope = static_cast<A>(slopes_[static_cast<std::size_t>(where.head)]);
    if (write && future_ == Future::mask) {
      for (Index r = 0; r < R; ++r) {
        A* out = scores + r * row_stride;
        const Index from = std::clamp<Index>(token + r + 1 - where.key, 0, where.keys);
        for (Index c = from; c < where.keys; ++c) out[c] -= std::numeric_limits<A>::infinity();
      }
    }
    const Index end = (std::min)(where.key + where.keys, token + R);
    for (Index at = (end - 1) / kPanel * kPanel; at + kPanel > where.key && end > where.key;
         at -= kPanel) {
      alignas(64) A edges[R * kPanel];
      detail::edge_products<R>(probes_.query(row, first), probes_.width(),
                               probes_.panel(row, at / kPanel), probes_.width(), edges);
      detail::edge_link(link_, slope, edges, R * kPanel);
      const Index begin = (std::max)(at, where.key), stop = (std::min)(at + kPanel, end);
      const bool whole = begin == at && stop == at + kPanel && token >= stop - 1;
      for (Index r = 0; r < R; ++r) {
        const A* x = edges + r * kPanel;
        A* out = scores + r * row_stride;
        if (write && whole) {
          detail::add_edge_suffix(x, out + (at - where.key), carry[r]);
          continue;
        }
        double sum = carry[r];
        for (Index l = (std::min)(stop, token + r + 1); l-- > begin;) {
          if constexpr (write) out[l - where.key] += static_cast<A>(sum);
          sum += static_cast<double>(x[l - at]);
        }
        carry[r] = sum;
      }
    }
  }

  template <Index R>
  void rows_vjp(const ScoreTile& where, Index first_row, const A* d_tile, Index row_stride,
                const double* before, const BiasGradients& gradients) const {
    const Index row = row_of(where), first = where.query + first_row, width = probes_.width();
    const Index token = range_.start + first;
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    const Index end = (std::min)(where.key + where.keys, token + R);
    double sum[R], d_slope = 0;
    std::copy_n(before, R, sum);
    for (Index at = where.key / kPanel * kPanel; at < end; at += kPanel) {
      alignas(64) A g[R * kPanel], d_g[R * kPanel];
      alignas(64) double d_x[R * kPanel] = {};
      const A* panel = probes_.panel(row, at / kPanel);
      detail::edge_products<R>(probes_.query(row, first), width, panel, width, g);
      detail::edge_link_derivative(link_, g, d_g, R * kPanel);
      for (Index r = 0; r < R; ++r) {
        const Index stop = (std::min)({at + kPanel, end, token + r + 1});
        const A* d = d_tile + r * row_stride;
        for (Index c = (std::max)(at, where.key) - at; c < stop - at; ++c) {
          d_slope += sum[r] * static_cast<double>(g[r * kPanel + c]);
          d_x[r * kPanel + c] = sum[r] * slope * static_cast<double>(d_g[r * kPanel + c]);
          sum[r] += static_cast<double>(d[at + c - where.key]);
        }
      }
      if (!gradients.features.empty()) {
        for (Index r = 0; r < R; ++r) {
          detail::edge_products_vjp(d_x + r * kPanel, probes_.query(row, first + r), panel, width,
                                    probes_.d_query(gradients.path, first + r),
                                    probes_.d_panel(gradients.path, at / kPanel));
        }
      }
    }
    if (!gradients.slopes.empty())
      gradients.slopes[static_cast<std::size_t>(where.head)] += d_slope;
  }

  std::vector<double> slopes_;
  detail::EdgeProbes<A> probes_;
  Link link_{};
  QueryRange range_;
  Future future_ = Future::mask;
};

/// Prepares `action` for the slopes and features [batch, seq, sets or 1, width], reusing its
/// storage where no copy shares it. The queries are the tokens of `range` among the keys, all of
/// them where it is left out. The features may be the queries, keys or values themselves.
template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, const QueryRange& range, Future future,
             BiasAction<A>& action) {
  if (auto* source = action.template unshared<PathIntegralBias<A, Link>>()) {
    source->assign(generator.slopes(), path, features, range, future);
    return;
  }
  PathIntegralBias<A, Link> source;
  source.assign(generator.slopes(), path, features, range, future);
  action = BiasAction<A>(std::move(source));
}

template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, const QueryRange& range, BiasAction<A>& action) {
  prepare(generator, path, features, range, Future::mask, action);
}

template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, Future future, BiasAction<A>& action) {
  prepare(generator, path, features, QueryRange{0, features.seq()}, future, action);
}

template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, BiasAction<A>& action) {
  prepare(generator, path, features, Future::mask, action);
}

/// Appends the tokens of the features to those of `action`, an empty one or one of this encoder;
/// they become its queries.
template <Element S, class Link, Element T, Accumulator A>
void append(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
            const TensorView<T>& features, BiasAction<A>& action) {
  const auto* source = detail::appended_source<PathIntegralBias<A, Link>>(action);
  if (source == nullptr) return prepare(generator, path, features, action);
  source->check_append(generator.slopes(), path, features);
  action.template own<PathIntegralBias<A, Link>>()->append(features);
}

}  // namespace grape::inline v0
