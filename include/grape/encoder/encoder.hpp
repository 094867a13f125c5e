// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/rotation_action.hpp"
#include "grape/generator/generator.hpp"
#include "grape/path/path.hpp"

namespace grape::inline v0 {

namespace detail {

template <class Kind, class A>
struct ActionOf;
template <class A>
struct ActionOf<SkewGenerator, A> {
  using type = RotationAction<A>;
};
template <class A>
struct ActionOf<NilpotentGenerator, A> {
  using type = BiasAction<A>;
};

template <class First, class... Rest>
struct Last : Last<Rest...> {};
template <class Only>
struct Last<Only> {
  using type = Only;
};
/// append(generator, path, inputs.., action), found beside the generator and the path. (Apart from
/// Encoder, whose own member would hide it.)
template <class... Args>
void append_to(Args&... args) {
  if constexpr (requires { append(args...); }) {
    append(args...);
  } else {
    static_assert(sizeof...(Args) == 0,
                  "grape: Encoder::append takes what its path needs of the new tokens: their "
                  "Positions, their log forget gates for FoX; rotations have nothing to append to");
  }
}
/// What the compiler names where a rotation is made of a head_dim.
struct a_rotation_takes_a_spectrum_as_log_uniform_of_head_dim_and_base;
/// Whether the last of some arguments is an action that may be changed.
template <class Action, class... Args>
concept EndsIn = sizeof...(Args) >= 2 && std::same_as<typename Last<Args...>::type, Action&>;

}  // namespace detail

/// A position encoding: a generator X and a path s. It acts by the group element exp(s X).
///
/// `at(inputs)` returns the action at those inputs, in the accumulation scalar of the generator's
/// scalar (float for float, half and bfloat16): a RotationAction of a skew generator from
/// at(positions), a BiasAction of a nilpotent one from at(query_positions, key_positions, future).
/// `at(inputs, action)` prepares an existing action again, without allocation where its storage
/// suffices. A new generator or path joins in by an overload of
/// `prepare(generator, path, inputs.., action)`.
template <Generator G, Path P>
class Encoder {
 public:
  using Scalar = typename G::Scalar;
  using Action = typename detail::ActionOf<typename G::Kind, accumulation_t<Scalar>>::type;

  /// From what the generator is made of: RoPE<float>(spectrum), ALiBi<float>(slopes).
  template <class... Args>
  requires(std::constructible_from<G, Args...>&& std::default_initializable<P>) explicit Encoder(
      Args&&... args)
      : generator_(std::forward<Args>(args)...) {}

  /// From a number of heads, where generator and path have standard parameters: ALiBi<float>(32).
  /// (A template, so that clang instantiates it for the generators that it fits alone.)
  template <std::integral Int>
  requires(std::constructible_from<G, Index, const P&>&&
               std::default_initializable<P>) explicit Encoder(Int heads)
      : generator_(static_cast<Index>(heads), P{}) {}

  /// From what the generator is made of, and a path: AxialRoPE<float>(spectrum, path).
  template <class Arg>
  requires(!std::same_as<std::remove_cvref_t<Arg>, G> && std::constructible_from<G, Arg> &&
           !std::constructible_from<G, Arg, P>) Encoder(Arg&& argument, P path)
      : generator_(std::forward<Arg>(argument)), path_(std::move(path)) {}

  /// The same on a path that has options: PathIntegral<float>(32, PathIntegralPath<>::authors()).
  template <std::integral Int>
  requires(std::constructible_from<G, Index, const P&>) Encoder(Int heads, P path)
      : generator_(static_cast<Index>(heads), path), path_(std::move(path)) {}

  /// From a generator and a path.
  Encoder(G generator, P path) : generator_(std::move(generator)), path_(std::move(path)) {}

  /// A rotation is not made of a head_dim, but of frequencies: RoPE<float>(spectrum::log_uniform(
  /// head_dim, base)).
  template <std::integral Int, class... Rest,
            class Instead = detail::a_rotation_takes_a_spectrum_as_log_uniform_of_head_dim_and_base>
  requires(std::same_as<typename G::Kind, SkewGenerator> &&
           !std::constructible_from<G, Int, Rest...>) explicit Encoder(Int,
                                                                       const Rest&...) = delete;

  const G& generator() const { return generator_; }
  const P& path() const { return path_; }

  /// The action at the inputs. Throws ArgumentError for inputs that cannot be used.
  template <class... Inputs>
  Action at(const Inputs&... inputs) const requires(!std::is_same_v<Action, Inputs> && ...) {
    Action action;
    prepare_checked(action, inputs...);
    return action;
  }

  /// at(inputs.., action): the same, into an action that exists.
  template <class... Args>
  requires(detail::EndsIn<Action, Args...>) void at(Args&&... args) const {
    if constexpr (requires { prepare(generator_, path_, args...); }) {
      prepare(generator_, path_, args...);
    } else {
      wrong_inputs<Args...>();
    }
  }

  /// append(inputs.., action): the action goes on with the tokens that these inputs describe, which
  /// follow those that it has and become its queries. It begins with a new action, or one from
  /// at(). The cost is that of the new tokens, taken over many calls; a copy of the action stays as
  /// it was (and then the first call copies). Throws ArgumentError, and changes nothing, for inputs
  /// that cannot be used and an action of another encoder.
  template <class... Args>
  requires(detail::EndsIn<Action, Args...>) void append(Args&&... args) const {
    detail::append_to(generator_, path_, args...);
  }

 private:
  template <class... Inputs>
  void prepare_checked(Action& action, const Inputs&... inputs) const {
    if constexpr (requires { prepare(generator_, path_, inputs..., action); }) {
      prepare(generator_, path_, inputs..., action);
    } else {
      wrong_inputs<Inputs...>();
    }
  }
  template <class... Inputs>
  static void wrong_inputs() {
    static_assert(sizeof...(Inputs) == 0 && sizeof(Action) == 0,
                  "grape: Encoder::at takes what its path needs: Positions for a rotation, phase "
                  "increments for a contextual one, query and key Positions for a bias, log forget "
                  "gates for FoX");
  }

  G generator_;
  P path_{};
};

}  // namespace grape::inline v0
