// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/edge_probes.hpp"
#include "grape/encoder/detail/edge_rows.hpp"
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
    if constexpr (std::equality_comparable<Link>) {
      if (!(path.link == link_)) {
        detail::fail("path", "another link", "the link of the action");
      }
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
    const auto edges = rows(where);
    ScoreTile rest = where;  // the keys behind the tile, whose edges every entry holds
    rest.key = where.key + where.keys;
    rest.keys = keys() - rest.key;
    for (Index r = 0; r < where.queries; ++r) std::fill_n(out + r * row_stride, where.keys, A(0));
    for (Index r = 0; r < where.queries; r += R) {
      double carry[R] = {};
      ScoreTile piece = where;
      rest.query = piece.query = where.query + r;
      rest.queries = piece.queries = (std::min)(R, where.queries - r);
      edges.template add<false>(rest, nullptr, 0, carry);
      edges.template add<true>(piece, out + r * row_stride, row_stride, carry);
    }
  }

  /// carry[r] holds the sum of the edges (t, l) of row r's token t for l behind the tile.
  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    rows(where).template add<true>(where, scores, row_stride, carry);
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
      // An edge may underflow to 0.
      constexpr auto kLeast = static_cast<double>((std::numeric_limits<A>::min)());
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
    const double d_slope =
        rows(where).vjp(where, d_tile, row_stride, before,
                        gradients.features.empty() ? std::span<double>{} : gradients.path);
    if (gradients.slopes.empty()) return;
    gradients.slopes[static_cast<std::size_t>(where.head)] += d_slope;
  }

  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    if (gradients.features.empty()) return;
    const Index width = probes_.width();
    double* out = gradients.features.data() + (batch * keys() * heads() + head) * width;
    probes_.add_feature_gradient(row_of({batch, head, 0, 0, 0, 0}), gradients.path, out,
                                 heads() * width);
  }

 private:
  static detail::ProbeRule rule_of(const PathIntegralPath<Link>& path) {
    constexpr auto kEpsilon = static_cast<double>(std::numeric_limits<A>::epsilon());
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

  detail::EdgeRows<A, Link> rows(const ScoreTile& where) const {
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    return {probes_, link_, slope, row_of(where), range_.start, future_ == Future::mask};
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
  detail::assign_source<PathIntegralBias<A, Link>>(action, generator.slopes(), path, features,
                                                   range, future);
}

/// The same with Future::mask.
template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, const QueryRange& range, BiasAction<A>& action) {
  prepare(generator, path, features, range, Future::mask, action);
}

/// The same for all tokens.
template <Element S, class Link, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const PathIntegralPath<Link>& path,
             const TensorView<T>& features, Future future, BiasAction<A>& action) {
  prepare(generator, path, features, QueryRange{0, features.seq()}, future, action);
}

/// The same for all tokens, with Future::mask.
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
