// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/pairing.hpp"
#include "grape/encoder/axial_rotation.hpp"
#include "grape/encoder/contextual_rotation.hpp"
#include "grape/encoder/cumulative_bias.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/encoder/gated_encoder.hpp"
#include "grape/encoder/grid_bias.hpp"
#include "grape/encoder/linear_bias.hpp"
#include "grape/encoder/path_integral_bias.hpp"
#include "grape/generator/canonical_planes.hpp"
#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/parameterized_planes.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/path/axial.hpp"
#include "grape/path/cumulative.hpp"
#include "grape/path/linear.hpp"
#include "grape/path/path_integral.hpp"

namespace grape::inline v0 {

// The encodings of the paper by name: each is a generator and a path.
//
// | preset | generator                    | path                       | paper                 |
// |--------|------------------------------|----------------------------|-----------------------|
// | RoPE   | canonical planes, so(d)      | linear                     | section 3, eq. (3.1)  |
// | ContextualRoPE | the same            | cumulative, exclusive      | section 3, GRAPE-M-ctx |
// | AxialRoPE | the same                 | a coordinate an axis       | appendix G            |
// | FramedRoPE | planes of a learned frame, so(d) | any, linear by default | section 3 |
// | HouseholderRoPE, CayleyRoPE | the same, made of free parameters | the same | section 3 |
// | CompactRoPE | a sum of overlapping planes, so(d) | the same        | appendix D            |
// | Rank2RoPE | one plane of any direction, so(d) | the same         | section 2, eq. (2.1)  |
// | ALiBi  | rank-1 nilpotent, gl(d + 2)  | linear                     | section 4, eq. (4.7)  |
// | GatedALiBi | rank-1 nilpotent, gl(d + 2) | linear, gated by content | section 4, eq. (4.6) |
// | GridALiBi | rank-1 nilpotent, gl(d + 2) | offsets on a grid        | appendix G            |
// | FoX    | rank-1 nilpotent, gl(d + 2)  | cumulative, of log gates   | appendix C            |
// | PathIntegral | rank-1 nilpotent, gl(d + 2) | path integral of edges   | section 5, GRAPE-AP   |

/// Rotary position embedding: RoPE<float> rope(spectrum::log_uniform(head_dim, 10000.0)).
template <Element Scalar, Pairing pairing = Pairing::interleaved>
using RoPE = Encoder<CanonicalPlanes<Scalar, pairing>, LinearPath>;

/// Rotary embedding by a phase that tokens advance themselves: ContextualRoPE<float>
/// rope(spectrum), rope.at(omega) with phase increments [batch, seq, sets or 1, 1] (see sigmoid,
/// softplus).
template <Element Scalar, Pairing pairing = Pairing::interleaved>
using ContextualRoPE = Encoder<CanonicalPlanes<Scalar, pairing>, ExclusivePath>;

/// Rotary embedding on a grid: AxialRoPE<float> rope(spectrum, AxialPath::sections({16, 24, 24})),
/// rope.at(Positions::axes(list, 3, batch, seq)).
template <Element Scalar, Pairing pairing = Pairing::interleaved>
using AxialRoPE = Encoder<CanonicalPlanes<Scalar, pairing>, AxialPath>;

/// Rotation in a learned frame: FramedRoPE<float> rope(frame, spectrum). Its path, and that of the
/// other rotations below, may also be ExclusivePath (a contextual phase) or AxialPath (a grid).
template <Element Scalar, Path P = LinearPath>
using FramedRoPE = Encoder<LearnedPlanes<Scalar>, P>;

/// The same with the frame made of reflectors [d, 2 M] that nothing constrains:
/// HouseholderRoPE<float> rope(reflectors, spectrum), learned by rope.generator().vjp(d_frame).
template <Element Scalar, Path P = LinearPath>
using HouseholderRoPE = Encoder<ParameterizedPlanes<Scalar, HouseholderChart>, P>;

/// The same by a Cayley transform of parameters [d, 2 M]; zeros make RoPE's planes.
template <Element Scalar, Path P = LinearPath>
using CayleyRoPE = Encoder<ParameterizedPlanes<Scalar, CayleyChart>, P>;

/// Rotation by planes that overlap and do not commute: CompactRoPE<float>
/// rope(OverlappingPlanes{a, b, theta}), learned by rope.generator().vjp(d_planes).
template <Element Scalar, Path P = LinearPath>
using CompactRoPE = Encoder<CompactPlanes<Scalar>, P>;

/// Rotation in one plane of any direction: Rank2RoPE<float> rope(a, b).
template <Element Scalar, Path P = LinearPath>
using Rank2RoPE = Encoder<Rank2Generator<accumulation_t<Scalar>>, P>;

/// Attention with linear biases: ALiBi<float> alibi(num_heads), or alibi(slopes).
template <Element Scalar>
using ALiBi = Encoder<UnipotentGenerator<Scalar>, LinearPath>;

/// Biases of offsets on a grid: GridALiBi<float> grid(slopes, GridPath::radial()).
template <Element Scalar>
using GridALiBi = Encoder<UnipotentGenerator<Scalar>, GridPath>;

/// The forgetting transformer's decay: FoX<float> fox(num_heads), fox.at(log_forget) with log
/// forget gates [batch, seq, heads, 1] <= 0 (see log_sigmoid).
template <Element Scalar>
using FoX = Encoder<UnipotentGenerator<Scalar>, CumulativePath>;

/// GRAPE-AP: PathIntegral<float> ap(num_heads), ap.at(features) with features [batch, seq, heads or
/// 1, width] of the tokens. ap(num_heads, PathIntegralPath<>::authors()) is the authors' variant.
template <Element Scalar, EdgeLink Link = LogSigmoidLink>
using PathIntegral = Encoder<UnipotentGenerator<Scalar>, PathIntegralPath<Link>>;

/// ALiBi whose slopes are gated by content, GRAPE-A-Q, -K and -QK: slopes (ones for equation 4.6)
/// and a GatedPath<gate>; see GateParameters.
template <Element Scalar, Gate gate>
using GatedALiBi = Encoder<UnipotentGenerator<Scalar>, GatedPath<gate>>;

}  // namespace grape::inline v0
