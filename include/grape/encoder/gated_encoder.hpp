// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/overlap.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/encoder/gated_bias.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/math/gates.hpp"
#include "grape/path/gated.hpp"

namespace grape::inline v0 {
namespace detail {

/// The weights of one side's gate as they act, [sets, dim].
struct GateWeights {
  std::string_view argument;
  std::span<const double> values;
  Index sets, dim;

  template <class T>
  void check(const TensorView<T>& x) const {
    if (x.dim() != dim) {
      fail(text(argument, " dim"), text(x.dim()), text("the head_dim ", dim, " of the weights"));
    }
    check_heads(argument, x.heads(), sets);
  }
  const double* of(Index head, Index heads) const {
    return values.data() + parameter_set(head, heads, sets) * dim;
  }
};

template <Gate gate>
GateWeights query_side(const GatedPath<gate>& path) {
  return {"q", path.query_weights(), path.sets(), path.dim()};
}
template <Gate gate>
GateWeights key_side(const GatedPath<gate>& path) {
  return {"k", path.key_weights(), path.sets(), path.dim()};
}

/// weights . x / sqrt(dim), in double.
template <class T>
double gate_logit(const double* weights, const TensorView<T>& x, Index b, Index t, Index h) {
  double sum = 0;
  for (Index i = 0; i < x.dim(); ++i) {
    sum += weights[i] * static_cast<double>(static_cast<accumulation_t<T>>(x(b, t, h, i)));
  }
  return sum / std::sqrt(static_cast<double>(x.dim()));
}

/// The gates [batch, seq, heads, 1] of one side, softplus of the logits, computed where they are
/// read.
template <class A, class T>
class ComputedGate {
 public:
  ComputedGate(const GateWeights& weights, const TensorView<T>& x) : weights_(weights), x_(x) {
    weights.check(x);
  }

  Index batch() const { return x_.batch(); }
  Index seq() const { return x_.seq(); }
  Index heads() const { return x_.heads(); }
  Index dim() const { return 1; }
  A operator()(Index b, Index t, Index h, Index /*coordinate*/) const {
    return static_cast<A>(softplus(gate_logit(weights_.of(h, x_.heads()), x_, b, t, h)));
  }

 private:
  GateWeights weights_;
  TensorView<T> x_;
};

/// Those of both sides; one that has none is absent.
template <class A, class Q, class K>
struct ComputedGates {
  std::optional<ComputedGate<A, Q>> query{};
  std::optional<ComputedGate<A, K>> key{};
};

template <class A, class Q, class K>
ComputedGates<A, Q, K> computed_gates(const GatedPath<Gate::both>& path, const TensorView<Q>& q,
                                      const TensorView<K>& k) {
  return {ComputedGate<A, Q>(query_side(path), q), ComputedGate<A, K>(key_side(path), k)};
}
template <class A, class T>
ComputedGates<A, T, T> computed_gates(const GatedPath<Gate::query>& path, const TensorView<T>& q) {
  return {.query = ComputedGate<A, T>(query_side(path), q)};
}
template <class A, class T>
ComputedGates<A, T, T> computed_gates(const GatedPath<Gate::key>& path, const TensorView<T>& k) {
  return {.key = ComputedGate<A, T>(key_side(path), k)};
}

/// slope * omega of each set, a list.
class GatedFactors {
 public:
  template <class S, Gate gate>
  GatedFactors(const UnipotentGenerator<S>& generator, const GatedPath<gate>& path)
      : slopes_(generator.slopes()), omega_(path.omega()) {
    if (slopes_.size() != omega_.size()) {
      fail("slopes", text(slopes_.size(), " slopes"),
           text("one for each of the ", omega_.size(), " sets of the path"));
    }
  }

  std::size_t size() const { return slopes_.size(); }
  double operator[](std::size_t p) const { return slopes_[p] * omega_[p]; }

 private:
  std::span<const double> slopes_, omega_;
};

template <class A, class Gates>
void append_gated(const GatedFactors& factors, const Gates& gates, const Positions& positions,
                  BiasAction<A>& action) {
  const auto* source = appended_source<GatedBias<A>>(action);
  if (source == nullptr) {
    assign_source<GatedBias<A>>(action, factors, gates, positions, positions, Future::mask);
    return;
  }
  source->check_append(factors, gates, positions);
  action.template own<GatedBias<A>>()->append(gates, positions);
}

template <class T, class U>
void gate_vjp(const GateWeights& weights, const TensorView<T>& x, std::span<const double> d_gates,
              const TensorView<U>& d_x, std::vector<double>& d_weights) {
  weights.check(x);
  const Index heads = x.heads(), gates = x.batch() * x.seq() * heads;
  const Index given = static_cast<Index>(d_gates.size());
  const Index groups = gates == 0 ? 0 : given / gates;
  if (groups * gates != given || (groups == 0 && gates != 0)) {
    fail("d_gates", text(given, " numbers"),
         text("[batch, seq, heads of the bias], a multiple of ", gates));
  }
  const bool wanted = !d_x.empty();
  if (wanted && (d_x.batch() != x.batch() || d_x.seq() != x.seq() || d_x.heads() != heads ||
                 d_x.dim() != x.dim())) {
    fail(text("d_", weights.argument), "another shape", text("that of ", weights.argument));
  }
  if (share_elements(x, d_x)) {
    fail(text("d_", weights.argument), text("elements of ", weights.argument), "memory of its own");
  }
  const double root = std::sqrt(static_cast<double>(x.dim()));
  d_weights.assign(weights.values.size(), 0.0);
  auto d = d_gates.begin();
  for (Index b = 0; b < x.batch(); ++b) {
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index h = 0; h < heads; ++h) {
        double d_gate = 0;  // of all heads that share this one
        for (Index g = 0; g < groups; ++g) d_gate += *d++;
        const double* w = weights.of(h, heads);
        const double scale = d_gate * softplus_derivative(gate_logit(w, x, b, t, h)) / root;
        double* d_w = d_weights.data() + (w - weights.values.data());
        for (Index i = 0; i < x.dim(); ++i) {
          d_w[i] += scale * static_cast<double>(static_cast<accumulation_t<T>>(x(b, t, h, i)));
          if (!wanted) continue;
          using B = accumulation_t<U>;
          auto& to = d_x(b, t, h, i);
          to = static_cast<U>(
              static_cast<B>(static_cast<double>(static_cast<B>(to)) + scale * w[i]));
        }
      }
    }
  }
}

inline void check_weights_gradient(std::string_view name, std::size_t got, std::size_t wanted) {
  if (got == 0 || got == wanted) return;
  fail(name, text(got, " numbers"), text(wanted, " numbers [sets, head_dim], or none"));
}

}  // namespace detail

/// Prepares `action` for GRAPE-A-QK (equation 4.6): at(q, k, query_positions, key_positions,
/// future). Gates are computed in double from q [batch, queries, heads, dim] and k [batch, keys,
/// key_heads, dim] as they are given: before a rotation or after it is the caller's choice. The
/// bias has the larger number of heads.
template <Element S, Element Q, Element K, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const GatedPath<Gate::both>& path,
             const TensorView<Q>& q, const TensorView<K>& k, const Positions& queries,
             const Positions& keys, Future future, BiasAction<A>& action) {
  detail::assign_source<GatedBias<A>>(action, detail::GatedFactors(generator, path),
                                      detail::computed_gates<A>(path, q, k), queries, keys, future);
}
/// The same with Future::mask.
template <Element S, Element Q, Element K, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const GatedPath<Gate::both>& path,
             const TensorView<Q>& q, const TensorView<K>& k, const Positions& queries,
             const Positions& keys, BiasAction<A>& action) {
  prepare(generator, path, q, k, queries, keys, Future::mask, action);
}

/// GRAPE-A-Q, at(q, query_positions, key_positions, future), and GRAPE-A-K with k in place of q.
template <Element S, Gate gate, Element T, Accumulator A>
requires(gate != Gate::both) void prepare(const UnipotentGenerator<S>& generator,
                                          const GatedPath<gate>& path, const TensorView<T>& x,
                                          const Positions& queries, const Positions& keys,
                                          Future future, BiasAction<A>& action) {
  detail::assign_source<GatedBias<A>>(action, detail::GatedFactors(generator, path),
                                      detail::computed_gates<A>(path, x), queries, keys, future);
}
/// The same with Future::mask.
template <Element S, Gate gate, Element T, Accumulator A>
requires(gate != Gate::both) void prepare(const UnipotentGenerator<S>& generator,
                                          const GatedPath<gate>& path, const TensorView<T>& x,
                                          const Positions& queries, const Positions& keys,
                                          BiasAction<A>& action) {
  prepare(generator, path, x, queries, keys, Future::mask, action);
}

/// Appends tokens, keys that become the queries: append(q, k, positions, action), or with the one
/// of q and k that gates. The action is an empty one or one of this encoder; that its gates came
/// from other weights, which it does not keep, goes unnoticed.
template <Element S, Element Q, Element K, Accumulator A>
void append(const UnipotentGenerator<S>& generator, const GatedPath<Gate::both>& path,
            const TensorView<Q>& q, const TensorView<K>& k, const Positions& positions,
            BiasAction<A>& action) {
  detail::append_gated(detail::GatedFactors(generator, path), detail::computed_gates<A>(path, q, k),
                       positions, action);
}
/// The same with one gate.
template <Element S, Gate gate, Element T, Accumulator A>
requires(gate != Gate::both) void append(const UnipotentGenerator<S>& generator,
                                         const GatedPath<gate>& path, const TensorView<T>& x,
                                         const Positions& positions, BiasAction<A>& action) {
  detail::append_gated(detail::GatedFactors(generator, path), detail::computed_gates<A>(path, x),
                       positions, action);
}

/// The gradients of a gated bias's parameters as given, in double, added to; an empty span is left
/// alone.
struct GatedGradients {
  std::span<double> slopes{};         ///< [P]
  std::span<double> omega{};          ///< [P], of omega before its softplus
  std::span<double> query_weights{};  ///< [P, head_dim], before they are normalized
  std::span<double> key_weights{};    ///< the same
};

/// From the gradient of the query gates [batch, queries, heads of the bias], which add_bias_vjp
/// gives as BiasGradients::query_gates, to those of q and of the query weights. Both are added to;
/// an empty d_q is left alone. Throws ArgumentError, and writes nothing, for shapes that do not
/// fit.
template <Element S, Gate gate, Element T, Element U>
requires(!std::is_const_v<U>) void apply_query_gate_vjp(
    const Encoder<UnipotentGenerator<S>, GatedPath<gate>>& encoder, const TensorView<T>& q,
    std::span<const double> d_gates, const TensorView<U>& d_q, const GatedGradients& gradients) {
  static_assert(gate != Gate::key, "grape: GRAPE-A-K has no query gate");
  const auto side = detail::query_side(encoder.path());
  detail::check_weights_gradient("gradients.query_weights", gradients.query_weights.size(),
                                 side.values.size());
  std::vector<double> d_weights;
  detail::gate_vjp(side, q, d_gates, d_q, d_weights);
  if (!gradients.query_weights.empty()) {
    encoder.path().query_weights_vjp(d_weights, gradients.query_weights);
  }
}

/// The same for the key gates [batch, keys, heads of the bias], k and the key weights.
template <Element S, Gate gate, Element T, Element U>
requires(!std::is_const_v<U>) void apply_key_gate_vjp(
    const Encoder<UnipotentGenerator<S>, GatedPath<gate>>& encoder, const TensorView<T>& k,
    std::span<const double> d_gates, const TensorView<U>& d_k, const GatedGradients& gradients) {
  static_assert(gate != Gate::query, "grape: GRAPE-A-Q has no key gate");
  const auto side = detail::key_side(encoder.path());
  detail::check_weights_gradient("gradients.key_weights", gradients.key_weights.size(),
                                 side.values.size());
  std::vector<double> d_weights;
  detail::gate_vjp(side, k, d_gates, d_k, d_weights);
  if (!gradients.key_weights.empty()) {
    encoder.path().key_weights_vjp(d_weights, gradients.key_weights);
  }
}

/// From the gradient of the factors [heads of the bias], BiasGradients::slopes of add_bias_vjp, to
/// those of omega and of the slopes, which are added to.
template <Element S, Gate gate>
void apply_gated_slope_vjp(const Encoder<UnipotentGenerator<S>, GatedPath<gate>>& encoder,
                           std::span<const double> d_factors, const GatedGradients& gradients) {
  const auto& path = encoder.path();
  const Index sets = path.sets(), heads = static_cast<Index>(d_factors.size());
  detail::check_heads("d_factors", heads, sets);
  for (const auto size : {gradients.slopes.size(), gradients.omega.size()}) {
    if (size != 0 && static_cast<Index>(size) != sets) {
      detail::fail("gradients", detail::text(size, " numbers"), detail::text(sets, " numbers"));
    }
  }
  std::vector<double> d_omega(static_cast<std::size_t>(sets), 0.0);
  for (Index h = 0; h < heads; ++h) {
    const auto p = static_cast<std::size_t>(parameter_set(h, heads, sets));
    const double d = d_factors[static_cast<std::size_t>(h)];
    d_omega[p] += encoder.generator().slopes()[p] * d;
    if (!gradients.slopes.empty()) gradients.slopes[p] += path.omega()[p] * d;
  }
  if (!gradients.omega.empty()) path.omega_vjp(d_omega, gradients.omega);
}

}  // namespace grape::inline v0
