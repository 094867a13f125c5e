// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {

/// The sum of biases, a dictionary of commuting unipotents (section 4): generators with A_r A_s = 0
/// add up to one that is nilpotent again, and their biases add. Parts may be shared by the batch or
/// not, and have different numbers of heads that divide the largest. -infinity of any part stays.
template <Accumulator A>
class SumBias {
 public:
  /// Throws ArgumentError for no part, and for parts of other queries, keys, batch or heads.
  explicit SumBias(std::vector<BiasAction<A>> parts) : parts_(std::move(parts)) {
    if (parts_.empty()) detail::fail("parts", "none", "at least one bias");
    for (const auto& part : parts_) {
      if (batch_ == 1) batch_ = part.batch();
      heads_ = (std::max)(heads_, part.heads());
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const auto& part = parts_[i];
      check(i, "queries", part.queries(), parts_[0].queries());
      check(i, "keys", part.keys(), parts_[0].keys());
      if (part.batch() != 1) check(i, "batch", part.batch(), batch_);
      detail::check_heads(detail::text("parts[", i, "]"), heads_, part.heads());
      if (part.uses_carry() && carrying_ == kNone) carrying_ = i;
    }
  }

  Index batch() const { return batch_; }
  Index heads() const { return heads_; }
  Index queries() const { return parts_[0].queries(); }
  Index keys() const { return parts_[0].keys(); }
  /// What is added up.
  std::span<const BiasAction<A>> parts() const { return parts_; }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    parts_[0].tile(of_part(0, where), out, row_stride);
    for (std::size_t i = 1; i < parts_.size(); ++i) add_by_tiles(i, where, out, row_stride);
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].uses_carry() && i != carrying_) {
        add_by_tiles(i, where, scores, row_stride);
      } else {
        parts_[i].add_tile(of_part(i, where), scores, row_stride, carry);
      }
    }
  }

  /// The sum of the parts' bounds, in the order in which tile() adds.
  A upper_bound(const ScoreTile& where) const {
    constexpr A kInfinity = std::numeric_limits<A>::infinity();
    A sum = 0;
    bool unknown = false;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const A bound = parts_[i].upper_bound(of_part(i, where));
      if (bound == -kInfinity) return bound;
      unknown = unknown || bound == kInfinity;
      sum = i == 0 ? bound : sum + bound;
    }
    return unknown ? kInfinity : sum;
  }

  void check_truncate() const {
    for (const auto& part : parts_) part.check_truncate();
  }
  /// Of every part; copies of the parts stay as they were.
  void truncate(Index keys) {
    for (auto& part : parts_) part.truncate(keys);
  }

 private:
  static constexpr std::size_t kNone = (std::numeric_limits<std::size_t>::max)();

  static void check(std::size_t part, std::string_view what, Index got, Index wanted) {
    if (got == wanted) return;
    detail::fail(detail::text("parts[", part, "] ", what), detail::text(got),
                 detail::text("the ", wanted, " of the other parts"));
  }

  ScoreTile of_part(std::size_t i, ScoreTile where) const {
    const auto& part = parts_[i];
    if (part.batch() == 1) where.batch = 0;
    where.head = parameter_set(where.head, heads_, part.heads());
    return where;
  }

  void add_by_tiles(std::size_t i, const ScoreTile& where, A* to, Index row_stride) const {
    constexpr Index kColumns = 512;
    std::array<A, static_cast<std::size_t>(kColumns)> piece;
    ScoreTile at = of_part(i, where);
    at.queries = 1;
    for (Index r = 0; r < where.queries; ++r, to += row_stride) {
      at.query = where.query + r;
      for (Index c = 0; c < where.keys; c += kColumns) {
        at.key = where.key + c;
        at.keys = (std::min)(kColumns, where.keys - c);
        parts_[i].tile(at, piece.data(), kColumns);
        for (Index k = 0; k < at.keys; ++k) to[c + k] += piece[static_cast<std::size_t>(k)];
      }
    }
  }

  std::vector<BiasAction<A>> parts_;
  Index batch_ = 1;
  Index heads_ = 1;
  std::size_t carrying_ = kNone;  // the one part that gets the carry
};

/// The sum of biases as one: attend and add_bias take it like any other. Its gradients are those of
/// its parts, BiasGradients::parts; to stream, append to the parts and sum them again, which costs
/// nothing but their number.
template <Accumulator A>
BiasAction<A> sum(std::span<const BiasAction<A>> parts) {
  return BiasAction<A>(SumBias<A>({parts.begin(), parts.end()}));
}
/// The same of a list of arguments.
template <Accumulator A, std::same_as<BiasAction<A>>... Rest>
BiasAction<A> sum(const BiasAction<A>& first, const Rest&... rest) {
  return BiasAction<A>(SumBias<A>({first, rest...}));
}

namespace detail {

/// Calls visit(leaf, gradients) for the biases that a sum is made of, whatever its depth, in order;
/// for the bias itself where it is no sum. Each leaf's gradient with respect to the scores is that
/// of the sum. Throws ArgumentError for gradients that are not those of parts.
template <Accumulator A, class Visit>
void for_each_leaf(const BiasAction<A>& bias, const BiasGradients& gradients, Visit&& visit) {
  const auto parts = bias.parts();
  if (parts.empty()) {
    if (!gradients.parts.empty()) {
      fail("gradients.parts", text(gradients.parts.size(), " parts"), "none: this bias is no sum");
    }
    visit(bias, gradients);
    return;
  }
  if (!gradients.parts.empty() && gradients.parts.size() != parts.size()) {
    fail("gradients.parts", text(gradients.parts.size(), " parts"),
         text("the ", parts.size(), " parts of the sum"));
  }
  for (const std::size_t size :
       {gradients.slopes.size(), gradients.log_forget.size(), gradients.query_gates.size(),
        gradients.key_gates.size(), gradients.features.size()}) {
    if (size != 0) fail("gradients", text(size, " entries"), "gradients of the parts: it is a sum");
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for_each_leaf(parts[i], gradients.parts.empty() ? BiasGradients{} : gradients.parts[i], visit);
  }
}

}  // namespace detail
}  // namespace grape::inline v0
