// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/detail/edge_panel.hpp"
#include "grape/math/sincos.hpp"
#include "grape/path/cumulative.hpp"
#include "grape/path/path_integral.hpp"

namespace grape::inline v0 {
namespace detail {

/// How features become probes; PathIntegralPath with its epsilon settled.
struct ProbeRule {
  ProbeConvention convention = ProbeConvention::paper;
  Pairing pairing = Pairing::interleaved;
  double epsilon = 0;
  bool operator==(const ProbeRule&) const = default;
};

/// The two sides of every edge: for the tokens that ask a vector q_t, for all tokens l a turned
/// vector k_l, so that <p_t, R_l p_l> / d = <q_t, k_l>. Rows are those of [batch, feature heads].
/// Everything is computed in double and rounded to A once.
template <Accumulator A>
class EdgeProbes {
 public:
  /// From features [batch, seq, heads, width]; asking are the tokens of `range`.
  template <Element T>
  void assign(const TensorView<T>& features, const QueryRange& range, const ProbeRule& rule) {
    const Index rows = features.batch() * features.heads();
    const Index panels = (features.seq() + kEdgePanel - 1) / kEdgePanel;
    // What may run out of memory comes first, so that a failure leaves the probes as they were.
    panels_.reserve(size(rows, panels * features.dim() * kEdgePanel));
    queries_.reserve(size(rows, range.count * features.dim()));
    inverse_rms_.reserve(size(rows, panels * kEdgePanel));
    reach_.reserve(size(rows, range.count));
    scratch_.reserve(size(2, features.dim()));
    rule_ = rule;
    rows_ = rows;
    heads_ = features.heads();
    width_ = features.dim();
    keys_ = 0;
    capacity_ = panels;
    panels_.assign(size(rows, panels * width_ * kEdgePanel), A(0));
    inverse_rms_.assign(size(rows, panels * kEdgePanel), 0.0);
    extend(features, range);
  }

  /// More tokens behind those that are there, features of the same batch, heads and width: they ask
  /// now. Storage grows by doubling.
  template <Element T>
  void append(const TensorView<T>& features) {
    reserve(keys_ + features.seq());
    extend(features, {keys_, features.seq()});
  }

  /// Forgets all but the first `keys` tokens; none asks.
  void truncate(Index keys) {
    keys_ = keys;
    range_ = {keys, 0};
  }

  const ProbeRule& rule() const { return rule_; }
  Index keys() const { return keys_; }
  Index width() const { return width_; }
  Index heads() const { return heads_; }
  Index batch() const { return heads_ == 0 ? 0 : rows_ / heads_; }

  /// Keys [panel * kEdgePanel, ..), [width, kEdgePanel]; behind the last key are any numbers.
  const A* panel(Index row, Index panel) const {
    return panels_.data() + (row * capacity_ + panel) * width_ * kEdgePanel;
  }
  /// [width] of the asking token `query`, divided by the width; the next one follows.
  const A* query(Index row, Index query) const {
    return queries_.data() + (row * range_.count + query) * width_;
  }
  /// What <q_t, k_l> does not exceed, whatever the key and however it is rounded.
  double reach(Index row, Index query) const {
    return reach_[static_cast<std::size_t>(row * range_.count + query)];
  }

  /// Entries that a gradient of the probes of one row has: key panels, then queries.
  Index gradient_size() const { return (panel_count() * kEdgePanel + range_.count) * width_; }
  double* d_panel(std::span<double> d, Index panel) const {
    return d.data() + panel * width_ * kEdgePanel;
  }
  double* d_query(std::span<double> d, Index query) const {
    return d.data() + (panel_count() * kEdgePanel + query) * width_;
  }

  /// From the gradient of a row's probes to that of its features, which is added to `out`: token l
  /// at out + l * stride. With y = r x, r = (mean(x^2) + epsilon)^(-1/2), it is
  /// d x = r (d y - y <y, d y> / width).
  void add_feature_gradient(Index row, std::span<double> d, double* out, Index stride) const {
    const bool both = rule_.convention == ProbeConvention::paper;
    const auto width = static_cast<double>(width_);
    std::vector<double> y(static_cast<std::size_t>(width_)), d_y(y);
    for (Index l = 0; l < keys_; ++l) {
      const A* keys = panel(row, l / kEdgePanel) + l % kEdgePanel;
      const double* d_keys = d_panel(d, l / kEdgePanel) + l % kEdgePanel;
      for (Index w = 0; w < width_; ++w) {
        y[static_cast<std::size_t>(w)] = static_cast<double>(keys[w * kEdgePanel]);
        d_y[static_cast<std::size_t>(w)] = d_keys[w * kEdgePanel];
      }
      turn(y.data(), l, -1);
      turn(d_y.data(), l, -1);
      add_normalised(y.data(), d_y.data(), rms_of(row, l), out + l * stride);
    }
    for (Index i = 0; i < range_.count; ++i) {
      const Index t = range_.start + i;
      const double* d_q = d_query(d, i);
      for (Index w = 0; w < width_; ++w) {
        y[static_cast<std::size_t>(w)] = static_cast<double>(query(row, i)[w]) * width;
        d_y[static_cast<std::size_t>(w)] = d_q[w] / width;
      }
      if (both) {
        add_normalised(y.data(), d_y.data(), rms_of(row, t), out + t * stride);
      } else {
        for (Index w = 0; w < width_; ++w) out[t * stride + w] += d_y[static_cast<std::size_t>(w)];
      }
    }
  }

 private:
  static std::size_t size(Index rows, Index each) { return static_cast<std::size_t>(rows * each); }
  Index panel_count() const { return (keys_ + kEdgePanel - 1) / kEdgePanel; }
  double rms_of(Index row, Index token) const {
    return inverse_rms_[static_cast<std::size_t>(row * capacity_ * kEdgePanel + token)];
  }

  /// Tokens behind keys_, for which there is room; those of `range` ask.
  template <Element T>
  void extend(const TensorView<T>& features, const QueryRange& range) {
    queries_.resize(size(rows_, range.count * width_));
    reach_.resize(size(rows_, range.count));
    scratch_.resize(size(2, width_));
    range_ = range;
    for (Index row = 0; row < rows_; ++row) {
      for (Index i = 0; i < features.seq(); ++i) set_token(features, row, i);
    }
    keys_ += features.seq();
  }

  template <Element T>
  void set_token(const TensorView<T>& features, Index row, Index i) {
    double* x = scratch_.data();
    double* y = x + width_;
    for (Index w = 0; w < width_; ++w) {
      x[w] = static_cast<double>(
          static_cast<accumulation_t<T>>(features(row / heads_, i, row % heads_, w)));
    }
    const Index token = keys_ + i;
    const double r = inverse_rms(x);
    inverse_rms_[static_cast<std::size_t>(row * capacity_ * kEdgePanel + token)] = r;
    for (Index w = 0; w < width_; ++w) y[w] = r * x[w];
    const bool both = rule_.convention == ProbeConvention::paper;
    const Index query = token - range_.start;
    if (query >= 0 && query < range_.count) {
      const double* asks = both ? y : x;
      A* q = queries_.data() + (row * range_.count + query) * width_;
      for (Index w = 0; w < width_; ++w)
        q[w] = static_cast<A>(asks[w] / static_cast<double>(width_));
      reach_[static_cast<std::size_t>(row * range_.count + query)] = reach_of(asks);
    }
    turn(y, token, 1);
    A* keys = panels_.data() + (row * capacity_ + token / kEdgePanel) * width_ * kEdgePanel;
    for (Index w = 0; w < width_; ++w) {
      keys[w * kEdgePanel + token % kEdgePanel] = static_cast<A>(y[w]);
    }
  }

  /// (mean(x^2) + epsilon)^(-1/2), scaled so that squares neither overflow nor vanish.
  double inverse_rms(const double* x) const {
    double scale = std::sqrt(rule_.epsilon);
    for (Index w = 0; w < width_; ++w) scale = (std::max)(scale, std::fabs(x[w]));
    if (scale == 0) return 0;  // no direction: 0 stays 0
    double sum = 0;
    for (Index w = 0; w < width_; ++w) sum += (x[w] / scale) * (x[w] / scale);
    const double rest = std::sqrt(rule_.epsilon) / scale;
    return 1 / (scale * std::sqrt(sum / static_cast<double>(width_) + rest * rest));
  }

  /// |q_t| |k_l| <= |asks| / sqrt(width), and a little for the roundings of a product of `width`
  /// terms and of its factors.
  double reach_of(const double* asks) const {
    const auto width = static_cast<double>(width_);
    double sum = 0;
    for (Index w = 0; w < width_; ++w) sum += asks[w] * asks[w];
    const double unit = static_cast<double>(std::numeric_limits<A>::epsilon());
    return std::sqrt(sum / width) * (1 + (width + 8) * unit);
  }

  /// y = R_(direction * l) y, or R_(-direction * l) y by the authors' convention; angles are exact.
  void turn(double* y, Index l, Index direction) const {
    static constexpr Turn kOneRadian = turn_of(1.0);
    const CosSin<double> g = cos_sin(phase_at(kOneRadian, l));
    const bool backwards = (rule_.convention == ProbeConvention::authors) == (direction > 0);
    const double sine = backwards ? -g.sin : g.sin;
    const Index planes = width_ / 2;
    for (Index m = 0; m < planes; ++m) {
      const PlaneCoordinates at = plane_coordinates(rule_.pairing, m, planes);
      const double y0 = y[at.first], y1 = y[at.second];
      y[at.first] = y0 * g.cos - y1 * sine;
      y[at.second] = y0 * sine + y1 * g.cos;
    }
  }

  void add_normalised(const double* y, const double* d_y, double r, double* out) const {
    double along = 0;
    for (Index w = 0; w < width_; ++w) along += y[w] * d_y[w];
    along /= static_cast<double>(width_);
    for (Index w = 0; w < width_; ++w) out[w] += r * (d_y[w] - y[w] * along);
  }

  /// Makes room for `keys` tokens, moving the rows apart where they have to grow.
  void reserve(Index keys) {
    const Index panels = (keys + kEdgePanel - 1) / kEdgePanel;
    if (panels <= capacity_) return;
    const Index capacity = (std::max)(panels, 2 * capacity_);
    const Index each = width_ * kEdgePanel;
    LineVector<A> wider(size(rows_, capacity * each), A(0));
    std::vector<double> rms(size(rows_, capacity * kEdgePanel), 0.0);
    for (Index row = 0; row < rows_; ++row) {
      std::copy_n(panels_.data() + row * capacity_ * each, panel_count() * each,
                  wider.data() + row * capacity * each);
      std::copy_n(inverse_rms_.data() + row * capacity_ * kEdgePanel, keys_,
                  rms.data() + row * capacity * kEdgePanel);
    }
    panels_ = std::move(wider);
    inverse_rms_ = std::move(rms);
    capacity_ = capacity;
  }

  ProbeRule rule_;
  QueryRange range_;
  Index rows_ = 0, heads_ = 1, width_ = 0, keys_ = 0;
  Index capacity_ = 0;               // panels of a row that there is room for
  LineVector<A> panels_;             // [rows, capacity, width, kEdgePanel]
  std::vector<A> queries_;           // [rows, range.count, width]
  std::vector<double> inverse_rms_;  // [rows, capacity * kEdgePanel]
  std::vector<double> reach_;        // [rows, range.count]
  std::vector<double> scratch_;      // features of a token, and its probe
};

}  // namespace detail
}  // namespace grape::inline v0
