// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {

/// What a stream of tokens carries from call to call of shift_tokens: the last token as it came in,
/// [batch, heads, dim]. A value: a copy is a snapshot to go back to.
template <Element T>
class TokenShiftState {
 public:
  /// Before the first token, k_{-1} = 0.
  TokenShiftState() = default;

  bool empty() const { return last_.empty(); }
  /// Forgets the stream: the next token is a first one.
  void reset() { last_.clear(); }

  /// The last row of a batch entry and head, null before the first token.
  const T* row(Index batch, Index head) const {
    return empty() ? nullptr : last_.data() + (batch * heads_ + head) * dim_;
  }

  /// Throws ArgumentError unless x continues the stream: the same batch, heads and dim.
  void check(const TensorView<T>& x) const {
    if (empty() || (x.batch() == batch_ && x.heads() == heads_ && x.dim() == dim_)) return;
    detail::fail("x", shape(x.batch(), x.heads(), x.dim()),
                 detail::text(shape(batch_, heads_, dim_), " as in the state"));
  }

  /// The last token of x, a view that is not empty.
  void assign(const TensorView<T>& x) {
    batch_ = x.batch();
    heads_ = x.heads();
    dim_ = x.dim();
    last_.resize(static_cast<std::size_t>(batch_ * heads_ * dim_));
    T* to = last_.data();
    for (Index b = 0; b < batch_; ++b) {
      for (Index h = 0; h < heads_; ++h) {
        for (Index d = 0; d < dim_; ++d) *to++ = x(b, x.seq() - 1, h, d);
      }
    }
  }

 private:
  static std::string shape(Index batch, Index heads, Index dim) {
    return detail::text("batch ", batch, ", ", heads, " heads, dim ", dim);
  }

  std::vector<T> last_;
  Index batch_ = 0, heads_ = 0, dim_ = 0;
};

namespace detail {

inline constexpr Index kShiftPiece = 128;  // numbers of a row in work: a few registers of each kind

template <class G, class T>
void check_shift(const TensorView<G>& alpha, const TensorView<T>& x) {
  if (alpha.batch() != x.batch()) {
    fail("alpha batch", text(alpha.batch()), text("the batch ", x.batch(), " of x"));
  }
  if (alpha.seq() != x.seq()) {
    fail("alpha seq", text(alpha.seq(), " tokens"), text("the ", x.seq(), " tokens of x"));
  }
  if (alpha.dim() != 1) fail("alpha dim", text(alpha.dim()), "1, one gate a token and head");
  if (alpha.heads() < 1) fail("alpha heads", text(alpha.heads()), "a value >= 1");
  check_heads("x heads", x.heads(), alpha.heads());
  for (Index b = 0; b < alpha.batch(); ++b) {
    for (Index t = 0; t < alpha.seq(); ++t) {
      for (Index h = 0; h < alpha.heads(); ++h) {
        const auto a = static_cast<double>(widen(alpha(b, t, h, 0)));
        if (!is_finite(a) || a < 0 || a > 1) {
          fail(text("alpha(", b, ", ", t, ", ", h, ")"), text(a), "a gate in [0, 1]");
        }
      }
    }
  }
}

inline namespace GRAPE_ISA {

/// x[d * stride] = at * x[d * stride] + other * y[d * y_stride], in the accumulation scalar and
/// rounded once; y may be null, a row of zeros.
template <class T, class A = accumulation_t<T>>
void blend_row(A at, T* x, Index stride, A other, const T* y, Index y_stride, Index dim) {
  A mine[kShiftPiece], theirs[kShiftPiece];
  for (Index start = 0; start < dim; start += kShiftPiece) {
    const Index count = (std::min)(kShiftPiece, dim - start);
    load(x + start * stride, stride, count, mine);
    if (y == nullptr) {
      for (Index i = 0; i < count; ++i) mine[i] *= at;
    } else {
      load(y + start * y_stride, y_stride, count, theirs);
      for (Index i = 0; i < count; ++i) mine[i] = at * mine[i] + other * theirs[i];
    }
    store(mine, stride, count, x + start * stride);
  }
}

}  // namespace GRAPE_ISA

template <class G, class T, class E>
void shift_tokens(const TensorView<G>& alpha, const TensorView<T>& x,
                  const TokenShiftState<T>& before, const E& executor) {
  using A = accumulation_t<T>;
  const Index heads = x.heads();
  executor.run(x.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads, set = parameter_set(h, heads, alpha.heads());
    for (Index t = x.seq(); t-- > 0;) {  // a token's predecessor is still what it was
      const A a = static_cast<A>(widen(alpha(b, t, set, 0)));
      const bool first = t == 0;
      blend_row(A(1) - a, &x(b, t, h, 0), x.stride(3), a,
                first ? before.row(b, h) : &x(b, t - 1, h, 0), first ? Index{1} : x.stride(3),
                x.dim());
    }
  });
}

}  // namespace detail

/// The key/value shift of the paper's experiments, in place: with a gate alpha for each token and
/// head,
///
///   x_t <- alpha_t x_{t-1} + (1 - alpha_t) x_t,   x_{-1} = 0,
///
/// for keys, values or both, each with a call (and gates) of its own, before they are rotated.
/// alpha is [batch, seq, sets, 1], a sigmoid's value in [0, 1]; head h of H uses set h * sets / H.
/// Arithmetic is in float for float, half and bfloat16, and each element is rounded once. NaN and
/// infinity in x propagate. An empty view is left alone.
///
/// The formula holds for every first token. The authors' code gives the first token of a sequence
/// of two or more that weight, 1 - alpha_0, but a sequence of a single token the weight 1: set
/// alpha to 0 there to have the same.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, for a gate outside
/// of [0, 1] or NaN, and where alpha and x share memory.
template <Element G, Element T, Executor E = Serial>
requires(!std::is_const_v<T>) void shift_tokens(const TensorView<G>& alpha, TensorView<T> x,
                                                const E& executor = {}) {
  if (x.empty()) return;
  detail::check_shift(alpha, x);
  if (detail::share_elements(alpha, x)) {
    detail::fail("alpha", "a view that shares elements with x", "views that do not overlap");
  }
  detail::shift_tokens(alpha, x, TokenShiftState<T>(), executor);
}

/// The same for the next tokens of a stream, one or many: `state` holds the token before them and
/// receives the last of them. Pieces of a sequence come out as the whole of it. Throws as above,
/// also where x is of another batch, heads or dim than the stream.
template <Element G, Element T, Executor E = Serial>
requires(!std::is_const_v<T>) void shift_tokens(const TensorView<G>& alpha, TensorView<T> x,
                                                TokenShiftState<T>& state, const E& executor = {}) {
  if (x.empty()) return;
  state.check(x);
  detail::check_shift(alpha, x);
  if (detail::share_elements(alpha, x)) {
    detail::fail("alpha", "a view that shares elements with x", "views that do not overlap");
  }
  TokenShiftState<T> next;
  next.assign(x);
  detail::shift_tokens(alpha, x, state, executor);
  std::swap(state, next);
}

/// The gradients of shift_tokens over whole sequences: `d` holds that of the outcome and receives
/// that of x, in place:
///
///   d_t <- (1 - alpha_t) d_t + alpha_{t+1} d_{t+1},
///   d_alpha_t += <d_t, x_{t-1} - x_t>,
///
/// x [batch, seq, heads, dim] as it was before the shift. d_alpha [batch, seq, sets] is added to in
/// double; an empty span is left alone. Throws ArgumentError, before anything is written, for what
/// shift_tokens refuses, for shapes that differ, and where d shares memory with x or alpha.
template <Element G, Element X, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<X>, T>) void shift_tokens_vjp(
    const TensorView<G>& alpha, const TensorView<X>& x, TensorView<T> d, std::span<double> d_alpha,
    const E& executor = {}) {
  using A = accumulation_t<T>;
  if (d.empty() && x.empty()) return;
  constexpr std::string_view kAxes[] = {"x batch", "x seq", "x heads", "x dim"};
  for (std::size_t a = 0; a < 4; ++a) {
    if (x.extent(a) != d.extent(a)) {
      detail::fail(kAxes[a], detail::text(x.extent(a)), detail::text("the ", d.extent(a), " of d"));
    }
  }
  detail::check_shift(alpha, d);
  const Index sets = alpha.heads(), heads = d.heads();
  if (!d_alpha.empty()) {
    detail::check_entries("d_alpha", d_alpha.size(), d.batch() * d.seq() * sets,
                          "batch x seq x the heads of alpha");
  }
  if (detail::share_elements(x, d) || detail::share_elements(alpha, d)) {
    detail::fail("d", "a view that shares elements with x or alpha", "views that do not overlap");
  }
  executor.run(d.batch() * sets, [&](Index i) {
    const Index b = i / sets, set = i % sets;
    for (Index h = 0; h < heads; ++h) {
      if (parameter_set(h, heads, sets) != set) continue;
      for (Index t = 0; t < d.seq(); ++t) {
        if (!d_alpha.empty()) {
          double sum = 0;
          for (Index e = 0; e < d.dim(); ++e) {
            const auto value = [&](const auto& v, Index token) {
              return static_cast<double>(detail::widen(v(b, token, h, e)));
            };
            sum += value(d, t) * ((t == 0 ? 0.0 : value(x, t - 1)) - value(x, t));
          }
          d_alpha[static_cast<std::size_t>((b * d.seq() + t) * sets + set)] += sum;
        }
        const A a = static_cast<A>(detail::widen(alpha(b, t, set, 0)));
        const bool last = t + 1 == d.seq();
        const A next = last ? A(0) : static_cast<A>(detail::widen(alpha(b, t + 1, set, 0)));
        detail::blend_row<T>(A(1) - a, &d(b, t, h, 0), d.stride(3), next,
                             last ? nullptr : &d(b, t + 1, h, 0), d.stride(3), d.dim());
      }
    }
  });
}

}  // namespace grape::inline v0
