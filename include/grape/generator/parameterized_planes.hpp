// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/math/frame.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// F = H_1 .. H_k E by reflectors [d, k] of any length but 0: frame::householder.
struct HouseholderChart {
  template <class M>
  static M frame(const M& parameters) {
    return grape::frame::householder<M>(parameters);
  }
  template <class M>
  static M vjp(const M& parameters, const M& d_frame) {
    return grape::frame::householder_vjp<M>(parameters, d_frame);
  }
};

/// F = (I - W / 2)^-1 (I + W / 2) E by the strictly lower triangle of [d, k]: frame::cayley.
struct CayleyChart {
  template <class M>
  static M frame(const M& parameters) {
    return grape::frame::cayley<M>(parameters);
  }
  template <class M>
  static M vjp(const M& parameters, const M& d_frame) {
    return grape::frame::cayley_vjp<M>(parameters, d_frame);
  }
};

/// The frame of independent columns [d, k] by Gram and Schmidt: frame::orthonormalized.
struct OrthonormalizedChart {
  template <class M>
  static M frame(const M& parameters) {
    return grape::frame::orthonormalized<M>(parameters);
  }
  template <class M>
  static M vjp(const M& parameters, const M& d_frame) {
    return grape::frame::orthonormalized_vjp<M>(parameters, d_frame);
  }
};

/// LearnedPlanes whose frames a chart makes of parameters [d, 2 M] that nothing constrains, so that
/// an optimiser may move them freely. A chart offers
///   frame(parameters)         the frame, orthonormal to rounding,
///   vjp(parameters, d_frame)  the gradient for the parameters.
template <Element Scalar_, class Chart>
class ParameterizedPlanes {
 public:
  using Scalar = Scalar_;
  using Kind = SkewGenerator;

  /// One frame for all heads. Throws ArgumentError for parameters of which the chart makes no frame
  /// and for another number of columns than 2 M.
  ParameterizedPlanes(FrameMatrix parameters, const Spectrum& spectrum)
      : ParameterizedPlanes(std::vector<FrameMatrix>{std::move(parameters)}, spectrum) {}

  /// A frame for each parameter set; the spectrum has as many sets, or one that they share.
  ParameterizedPlanes(std::vector<FrameMatrix> parameters, const Spectrum& spectrum)
      : parameters_(std::move(parameters)), planes_(frames(parameters_), spectrum) {}

  /// [d, 2 M] of a set, as given.
  const FrameMatrix& parameters(Index set = 0) const {
    return parameters_[parameters_.size() == 1 ? 0 : static_cast<std::size_t>(set)];
  }
  const PlaneFrame<accumulation_t<Scalar>>& plane_frame() const { return planes_.plane_frame(); }
  const Spectrum& spectrum() const { return planes_.spectrum(); }
  /// The same planes without an attention factor: what moves keys that carry it already.
  LearnedPlanes<Scalar> unscaled() const { return planes_.unscaled(); }

  /// The gradient for a set's parameters from that set's d_frame [2 M, d], which
  /// apply_rotation_frame_vjp made; of parameters that sets share it is the sum over them. Throws
  /// ArgumentError for a set or a size that does not fit.
  FrameMatrix vjp(std::span<const double> d_frame, Index set = 0) const {
    const FrameMatrix gradient = detail::set_gradient(plane_frame(), "d_frame", d_frame, set);
    return Chart::template vjp<FrameMatrix>(parameters(set), gradient);
  }

 private:
  static std::vector<FrameMatrix> frames(const std::vector<FrameMatrix>& parameters) {
    std::vector<FrameMatrix> out;
    for (const FrameMatrix& p : parameters) {
      out.push_back(Chart::template frame<FrameMatrix>(p));
    }
    return out;
  }

  std::vector<FrameMatrix> parameters_;
  LearnedPlanes<Scalar> planes_;
};

}  // namespace grape::inline v0
