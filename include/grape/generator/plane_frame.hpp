// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/math/frame.hpp"
#include "grape/math/sincos.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// What every skew generator is (real Schur form), and all that its exponential needs:
///
///   L = F (sum_m theta_m J_m) F^T,   J = [[0, -1], [1, 0]] on columns 2m and 2m + 1,
///
/// that is sum_m theta_m L(f_2m+1, f_2m) with L(a, b) = a b^T - b a^T: plane m turns from its first
/// column to its second by theta_m radians a step. exp(n L) acts as x + F (R(n theta) - I) F^T x.
///
/// P sets, each a frame F [d, R] with R >= 2 M orthonormal columns and M frequencies. Columns
/// behind the first 2 M stand still; they are kept where parameters' gradients need them. The
/// spectrum's attention factor multiplies what lies in the planes. A is the scalar that tensors
/// are rotated in. Immutable; copies share the frames.
template <Accumulator A>
class PlaneFrame {
 public:
  static constexpr Pairing kPairing = Pairing::interleaved;

  /// `frames` holds P frames or one that all sets share, `spectrum` P sets of M frequencies or one.
  /// Throws ArgumentError unless there is a frame, all have one shape [d, R] with 2 M <= R <= d,
  /// entries are finite and |F^T F - I| <= tolerance for each entry.
  PlaneFrame(std::vector<FrameMatrix> frames, const Spectrum& spectrum, double tolerance)
      : frames_(std::move(frames)), spectrum_(spectrum) {
    check(tolerance);
    const Index count = static_cast<Index>(frames_.size());
    sets_ = (std::max)(count, spectrum.sets());
    if (spectrum.sets() < sets_) {
      std::vector<double> repeated;
      for (Index set = 0; set < sets_; ++set) {
        for (const double theta : spectrum.frequencies()) repeated.push_back(theta);
      }
      spectrum_ = Spectrum::per_head(std::move(repeated), sets_, spectrum.attention_factor());
    }
    turns_ = TurnList(spectrum_.frequencies());
    const auto entries = static_cast<std::size_t>(sets_ * columns() * dim());
    auto rows = std::make_shared<detail::LineVector<A>>();
    rows->reserve(entries);
    for (Index set = 0; set < sets_; ++set) {
      const FrameMatrix& f = frame(set);
      for (Index i = 0; i < f.size(); ++i) rows->push_back(static_cast<A>(f.data()[i]));
    }
    rows_ = std::move(rows);
  }

  Index sets() const { return sets_; }
  /// d.
  Index dim() const { return frames_.front().rows(); }
  /// R.
  Index columns() const { return frames_.front().cols(); }
  /// F of a set, [d, R].
  const FrameMatrix& frame(Index set) const {
    return frames_[frames_.size() == 1 ? 0 : static_cast<std::size_t>(set)];
  }
  /// [P, M]. A plane's two columns stand side by side, from column 0 on.
  const Spectrum& spectrum() const { return spectrum_; }
  Index first_coordinate() const { return 0; }
  /// The frequencies as fractions of a turn.
  const TurnList& turns() const { return turns_; }
  /// The frames' columns one behind the other, [P, R, d].
  const std::shared_ptr<const detail::LineVector<A>>& rows() const { return rows_; }

  /// The same without an attention factor.
  PlaneFrame unscaled() const {
    PlaneFrame out = *this;
    out.spectrum_ = spectrum_.with_attention_factor(1);
    return out;
  }

  /// The dense generator [d, d] of a set, for inspection.
  FrameMatrix matrix(Index set = 0) const {
    using Matrix = detail::late_t<FrameMatrix, A>;
    const Matrix& f = frame(set);
    Matrix turned = Matrix::Zero(dim(), columns());
    for (Index m = 0; m < spectrum_.planes(); ++m) {
      turned.col(2 * m) = spectrum_(set, m) * f.col(2 * m + 1);
      turned.col(2 * m + 1) = -spectrum_(set, m) * f.col(2 * m);
    }
    return turned * f.transpose();
  }

 private:
  void check(double tolerance) const {
    if (frames_.empty()) detail::fail("frames", "an empty list", "one frame, or one a set");
    const auto count = static_cast<Index>(frames_.size());
    if (count != 1 && spectrum_.sets() != 1 && count != spectrum_.sets()) {
      detail::fail(
          "frames", detail::text(count, " frames"),
          detail::text("1, or one for each of the ", spectrum_.sets(), " sets of frequencies"));
    }
    for (Index set = 0; set < count; ++set) {
      const FrameMatrix& f = frame(set);
      const std::string name = count == 1 ? "frame" : detail::text("frames[", set, "]");
      detail::check_frame_shape(name, f);
      if (f.rows() != dim() || f.cols() != columns()) {
        detail::fail(name, detail::text("a ", f.rows(), " x ", f.cols(), " matrix"),
                     detail::text("the shape of the first, ", dim(), " x ", columns()));
      }
      if (f.cols() < 2 * spectrum_.planes()) {
        detail::fail(name, detail::text(f.cols(), " columns"),
                     detail::text("two for each of the ", spectrum_.planes(), " frequencies"));
      }
      const double error = frame::orthonormality_error<detail::late_t<FrameMatrix, A>>(f);
      if (!(error <= tolerance)) {
        detail::fail(name, detail::text("columns with |F^T F - I| = ", error),
                     detail::text("orthonormal columns, to ", tolerance));
      }
    }
  }

  std::vector<FrameMatrix> frames_;
  Spectrum spectrum_;
  Index sets_ = 1;
  TurnList turns_;
  std::shared_ptr<const detail::LineVector<A>> rows_;
};

namespace detail {

/// A set's gradient [R, d], a column of F behind the other, as a matrix [d, R]. Throws
/// ArgumentError for a set or a size that does not fit.
template <Accumulator A>
auto set_gradient(const PlaneFrame<A>& planes, std::string_view argument,
                  std::span<const double> gradient, Index set) {
  if (set < 0 || set >= planes.sets()) {
    fail("set", text(set), text("an index in [0, ", planes.sets(), ")"));
  }
  if (static_cast<Index>(gradient.size()) != planes.columns() * planes.dim()) {
    fail(argument, text(gradient.size(), " entries"),
         text("R x d = ", planes.columns(), " x ", planes.dim()));
  }
  return Eigen::Map<const late_t<FrameMatrix, A>>(gradient.data(), planes.dim(), planes.columns());
}

}  // namespace detail

/// A skew generator that knows its frame and frequencies: all that an Encoder over a path needs.
template <class G>
concept FrameGenerator = Generator<G> && std::same_as<typename G::Kind, SkewGenerator> &&
    requires(const G& g) {
  { g.plane_frame() } -> std::convertible_to<const PlaneFrame<accumulation_t<typename G::Scalar>>&>;
};

}  // namespace grape::inline v0
