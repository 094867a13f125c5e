// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"

/// Declarations of grape's types, for headers that only name them. Includes no Eigen.

namespace grape::inline v0 {

template <Element T>
class TensorView;
template <Element T>
class ScoreView;
class Positions;
class Spectrum;
struct LinearPath;
struct CumulativePath;
struct ExclusivePath;
class AxialPath;
struct Serial;
enum class Future;

template <Element Scalar, Pairing pairing>
class CanonicalPlanes;
template <Element Scalar>
class LearnedPlanes;
template <Element Scalar>
class CompactPlanes;
template <Accumulator A>
class PlaneFrame;
template <Element Scalar>
class UnipotentGenerator;
template <class S>
class Nilpotent;
template <class S>
class BlockRotation;
class FrameRotation;
template <class S>
class Unipotent;
template <Accumulator A>
class RotationAction;
template <Accumulator A>
class BiasAction;

}  // namespace grape::inline v0
