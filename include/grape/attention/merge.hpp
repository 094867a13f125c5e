// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <functional>
#include <span>
#include <type_traits>

#include "grape/apply/detail/convert.hpp"
#include "grape/attention/detail/check.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {
namespace detail {

template <class A>
bool overlap(std::span<const A> a, std::span<const A> b) {
  const std::less<const A*> before;
  return !a.empty() && !b.empty() && before(a.data(), b.data() + b.size()) &&
         before(b.data(), a.data() + a.size());
}

/// What a row of each side weighs, and the logarithm of both sums together. A side that has seen no
/// key weighs 0 and is not read.
template <class A>
struct MergeWeights {
  A mine, theirs, log_sum;

  MergeWeights(A a, A b) : mine(0), theirs(0), log_sum(a) {
    if (is_minus_infinity(b)) {
      mine = is_minus_infinity(a) ? A(0) : A(1);
      return;
    }
    if (is_minus_infinity(a)) {
      theirs = 1;
      log_sum = b;
      return;
    }
    const A most = a > b ? a : b;
    mine = std::exp(a - most);
    theirs = std::exp(b - most);
    const A sum = mine + theirs;
    mine /= sum;
    theirs /= sum;
    log_sum = most + std::log(sum);
  }
};

/// Whether parts of U can be merged into T; a mistake is said here alone.
template <class T, class U>
consteval bool merges() {
  static_assert(!std::is_const_v<T>,
                "grape: merge_attention writes to `out`: pass a view that is not const");
  static_assert(
      std::same_as<accumulation_t<T>, accumulation_t<U>>,
      "grape: out and part must both be double, or both of float, half and bfloat16 elements");
  return !std::is_const_v<T> && std::same_as<accumulation_t<T>, accumulation_t<U>>;
}

/// merge_attention() of parts that compute in one scalar.
template <class T, class A, class U, Executor E>
void merge_parts(const TensorView<T>& out, std::span<A> log_sum, const TensorView<U>& part,
                 std::span<const A> part_log_sum, const E& executor) {
  check_same_shape(part, out, "part");
  const Index rows = out.batch() * out.heads() * out.seq();
  check_entries("log_sum", log_sum.size(), rows, "batch x heads x queries");
  check_entries("part_log_sum", part_log_sum.size(), rows, "batch x heads x queries");
  if (share_elements(out, part)) {
    fail("part", "a view that shares elements with out", "memory of its own");
  }
  if (overlap<A>(log_sum, part_log_sum)) {
    fail("part_log_sum", "entries of log_sum", "memory of its own");
  }
  executor.run(out.batch() * out.heads(), [&](Index task) {
    const Index b = task / out.heads(), h = task % out.heads();
    for (Index t = 0; t < out.seq(); ++t) {
      const auto row = static_cast<std::size_t>(task * out.seq() + t);
      const MergeWeights<A> w(log_sum[row], part_log_sum[row]);
      log_sum[row] = w.log_sum;
      if (w.mine == 1 && w.theirs == 0) continue;
      for (Index d = 0; d < out.dim(); ++d) {
        A sum = 0;
        if (w.mine != 0) sum += w.mine * widen(out(b, t, h, d));
        if (w.theirs != 0) sum += w.theirs * widen(part(b, t, h, d));
        out(b, t, h, d) = narrow<T>(sum);
      }
    }
  });
}

}  // namespace detail

/// Joins attention over one set of keys with that over another, of the same queries: with what
/// attend() wrote for each, `out` and `log_sum` for one and `part` and `part_log_sum` for the
/// other,
///
///   out     <- exp(log_sum - L) out + exp(part_log_sum - L) part,
///   log_sum <- L = log(exp(log_sum) + exp(part_log_sum)),
///
/// row by row, so that out and log_sum become those of attend() over all of the keys. Shards of the
/// keys may come in any order and from anywhere: a ring of processes (context parallelism), threads
/// that share one long row of keys, a prompt that many requests share. `out` is that of shards
/// joined so far; fill log_sum with -infinity to begin, and out may hold anything.
///
///   std::vector<float> log_sum(batch * heads * q_len, -INFINITY), part_log_sum(log_sum.size());
///   for (shard of the keys) {
///     attend(q, shard.k, shard.v, part, {.causal = true, .query_offsets = ..,
///                                        .log_sum = part_log_sum});
///     merge_attention(out, log_sum, part, part_log_sum);
///   }
///
/// out and part are [batch, q_len, heads, dim] of any strides, log_sum and part_log_sum [batch,
/// heads, q_len]. out may be float where part is half or bfloat16: a sum of many parts is then
/// rounded once, when the caller narrows it. A row with -infinity has seen no key: it is not read,
/// and a row that none of both has seen becomes zeros. NaN propagates. Gradients need no merging of
/// their own: attend_vjp with the whole's out and log_sum, on each shard, gives that shard's part.
///
/// Throws ArgumentError, before anything is written, for shapes that differ and where out or
/// log_sum share elements with the part's.
template <Element T, Element U, Executor E = Serial>
void merge_attention(TensorView<T> out, std::type_identity_t<std::span<accumulation_t<T>>> log_sum,
                     TensorView<U> part,
                     std::type_identity_t<std::span<const accumulation_t<T>>> part_log_sum,
                     const E& executor = {}) {
  if constexpr (detail::merges<T, U>()) {
    detail::merge_parts(out, log_sum, part, part_log_sum, executor);
  }
}

}  // namespace grape::inline v0
