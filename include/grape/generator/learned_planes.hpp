// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/math/frame.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// Commuting planes in any directions (section 3): L = F (sum_m theta_m J_m) F^T with a frame F
/// [d, 2 M] of orthonormal columns, plane m on columns 2m and 2m + 1, and its frequencies, both
/// shared by all heads or in P sets. The frame E (the first columns of I) makes RoPE's coordinate
/// planes.
///
/// To learn the frame, make it of free parameters (ParameterizedPlanes, or frame::householder,
/// frame::cayley, frame::orthonormalized and their VJPs, which take what apply_rotation_frame_vjp
/// gives); the frequencies' gradient is apply_rotation_frequency_vjp's.
template <Element Scalar_>
class LearnedPlanes {
 public:
  using Scalar = Scalar_;
  using Kind = SkewGenerator;

  /// |F^T F - I| that is let pass: what a frame stored in float has.
  static constexpr double kTolerance = 1e-6;

  /// One frame. Throws ArgumentError unless it is [d, 2 M], finite and orthonormal to `tolerance`.
  LearnedPlanes(FrameMatrix frame, const Spectrum& spectrum, double tolerance = kTolerance)
      : LearnedPlanes(std::vector<FrameMatrix>{std::move(frame)}, spectrum, tolerance) {}

  /// A frame for each parameter set; the spectrum has as many sets, or one that they share.
  LearnedPlanes(std::vector<FrameMatrix> frames, const Spectrum& spectrum,
                double tolerance = kTolerance)
      : planes_(checked(std::move(frames), spectrum), spectrum, tolerance) {}

  const PlaneFrame<accumulation_t<Scalar>>& plane_frame() const { return planes_; }
  const Spectrum& spectrum() const { return planes_.spectrum(); }
  /// The same planes without an attention factor: what moves keys that carry it already.
  LearnedPlanes unscaled() const { return LearnedPlanes(planes_.unscaled()); }

 private:
  explicit LearnedPlanes(PlaneFrame<accumulation_t<Scalar>> planes) : planes_(std::move(planes)) {}

  static std::vector<FrameMatrix> checked(std::vector<FrameMatrix> frames,
                                          const Spectrum& spectrum) {
    for (const FrameMatrix& f : frames) {
      if (f.cols() != 2 * spectrum.planes()) {
        detail::fail("frame", detail::text(f.cols(), " columns"),
                     detail::text("two for each of the ", spectrum.planes(), " frequencies"));
      }
    }
    return frames;
  }

  PlaneFrame<accumulation_t<Scalar>> planes_;
};

}  // namespace grape::inline v0
