// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/path/edge_link.hpp"
#include "grape/path/path.hpp"

/// Declarations of grape's types, for headers that only name them. Includes no Eigen. Default
/// template arguments stand at the definitions, so all arguments are written out here; and an
/// Encoder<G, P> asks whether G is a Generator, so it is named once G and P are complete.

namespace grape::inline v0 {

// core/
template <class T>
class StridedView;
template <class T>
class TensorView;
template <class T>
class ScoreView;
struct Serial;

// path/
class Positions;
struct LinearPath;
struct CumulativePath;
struct ExclusivePath;
class AxialPath;
class GridPath;
class PendingShift;
enum class Gate;
template <Gate gate>
class GatedPath;
template <Path Rotation, Path Bias>
struct PairedPath;
template <EdgeLink Link>
struct PathIntegralPath;

// spectrum/
class Spectrum;

// math/
template <class T>
struct RodriguesFactors;
template <Accumulator A>
struct CosSin;

// generator/
template <Element Scalar, Pairing pairing>
class CanonicalPlanes;
template <Element Scalar>
class LearnedPlanes;
template <Element Scalar>
class CompactPlanes;
template <Element Scalar, class Chart>
class ParameterizedPlanes;
template <Accumulator A>
class PlaneFrame;
template <Accumulator Scalar, int Dim>
class Rank2Generator;
template <Accumulator Scalar, int Dim>
struct Rank2PlaneGradients;
template <Element Scalar>
class UnipotentGenerator;
template <class S>
class Nilpotent;
template <Generator Skew, Generator Nil>
class DirectSum;

// group/
template <class S>
class BlockRotation;
template <std::same_as<double> S>
class BasicFrameRotation;
using FrameRotation = BasicFrameRotation<double>;
template <Accumulator Scalar, int Dim>
class Rank2Rotation;
template <Accumulator Scalar, int Dim>
struct Rank2Gradients;
template <class S>
class Unipotent;
template <Accumulator Scalar>
struct UnipotentGradients;
template <class Rotation, class S>
class DirectSumElement;

// encoder/
template <Generator G, Path P>
class Encoder;
template <Accumulator A>
class RotationAction;
template <Accumulator A>
class BiasAction;
template <Accumulator A>
struct JointAction;
template <Accumulator A>
class LinearBias;
template <Accumulator A>
class CumulativeBias;
template <Accumulator A>
class GatedBias;
template <Accumulator A>
class GridBias;
template <Accumulator A>
class SumBias;
template <Accumulator A, bool carries>
class SliceBias;
struct ScoreRange;
template <Accumulator A, EdgeLink Link>
class PathIntegralBias;
class LiftSource;
struct BiasGradients;
struct ScoreTile;
enum class Future;

// apply/
struct LiftOptions;

// attention/
enum class CachedKeys;
template <Element T, CachedKeys kind>
class KeyValueCache;
template <Element T>
class TokenShiftState;
struct KeyShift;
template <Accumulator A>
class AttendWorkspace;
template <Accumulator A>
struct AttendOptions;
template <Element T>
struct AttendTensors;
template <Element T>
struct AttendGradients;

}  // namespace grape::inline v0
