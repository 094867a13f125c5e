// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/encoder/rotation_action.hpp"
#include "grape/generator/direct_sum.hpp"
#include "grape/path/paired.hpp"

namespace grape::inline v0 {

/// Both actions of a joint encoder, for whatever takes one of them: apply_rotation(a.rotation, ..),
/// add_bias(a.bias, ..), attend with {.rotation = &a.rotation, .bias = &a.bias}, lift(a, ..).
template <Accumulator A>
struct JointAction {
  using Scalar = A;
  RotationAction<A> rotation{};
  BiasAction<A> bias{};
};

namespace detail {

template <class A>
struct ActionOf<JointGenerator, A> {
  using type = JointAction<A>;
};

template <class Rotation, class Bias>
struct JointOf;
template <class G, class P, class N, class Q>
struct JointOf<Encoder<G, P>, Encoder<N, Q>> {
  using type = Encoder<DirectSum<G, N>, PairedPath<P, Q>>;
};

}  // namespace detail

/// A rotation and a bias as one group action in GL(d + 2) (appendix E): Joint<RoPE<float>,
/// ALiBi<float>>. Its at() takes the rotation's input and then those of the bias; positions alone
/// serve both:
///
///   joint(rope, alibi).at(positions)                    keys and queries at the same positions
///   joint(rope, alibi).at(positions, queries, keys)
///   joint(rope, fox).at(positions, log_forget)
///
/// Throws ArgumentError as the two encoders do; where the bias refuses its inputs, an action that
/// existed has its rotation prepared already.
template <class Rotation, class Bias>
using Joint = typename detail::JointOf<Rotation, Bias>::type;

/// The joint encoder of two.
template <class G, class P, class N, class Q>
Joint<Encoder<G, P>, Encoder<N, Q>> joint(const Encoder<G, P>& rotation,
                                          const Encoder<N, Q>& bias) {
  return {DirectSum<G, N>(rotation.generator(), bias.generator()),
          PairedPath<P, Q>{rotation.path(), bias.path()}};
}

namespace detail {

template <class G, class N, class P, class Q, class A, class Input, class... Inputs>
void prepare_joint(const DirectSum<G, N>& generator, const PairedPath<P, Q>& path,
                   JointAction<A>& action, const Input& input, const Inputs&... of_bias) {
  Encoder<G, P>(generator.rotation(), path.rotation).at(input, action.rotation);
  Encoder<N, Q>(generator.bias(), path.bias).at(of_bias..., action.bias);
}

}  // namespace detail

/// Prepares both parts at the same positions.
template <class G, class N, class P, class Q, class A>
void prepare(const DirectSum<G, N>& generator, const PairedPath<P, Q>& path,
             const Positions& positions, JointAction<A>& action) {
  detail::prepare_joint(generator, path, action, positions, positions, positions);
}
/// Prepares the rotation from its input, then the bias from one input of its own.
template <class G, class N, class P, class Q, class In, class B1, class A>
void prepare(const DirectSum<G, N>& generator, const PairedPath<P, Q>& path, const In& input,
             const B1& b1, JointAction<A>& action) {
  detail::prepare_joint(generator, path, action, input, b1);
}
/// The same with two inputs of the bias.
template <class G, class N, class P, class Q, class In, class B1, class B2, class A>
void prepare(const DirectSum<G, N>& generator, const PairedPath<P, Q>& path, const In& input,
             const B1& b1, const B2& b2, JointAction<A>& action) {
  detail::prepare_joint(generator, path, action, input, b1, b2);
}
/// The same with three inputs of the bias.
template <class G, class N, class P, class Q, class In, class B1, class B2, class B3, class A>
void prepare(const DirectSum<G, N>& generator, const PairedPath<P, Q>& path, const In& input,
             const B1& b1, const B2& b2, const B3& b3, JointAction<A>& action) {
  detail::prepare_joint(generator, path, action, input, b1, b2, b3);
}

}  // namespace grape::inline v0
