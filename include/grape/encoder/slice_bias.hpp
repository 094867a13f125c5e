// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/sum_bias.hpp"

namespace grape::inline v0 {

/// Queries [query, query + queries) against keys [key, key + keys) of a bias.
struct ScoreRange {
  Index query = 0;    ///< the first query
  Index queries = 0;  ///< how many of them
  Index key = 0;      ///< the first key
  Index keys = 0;     ///< how many of them
};

/// A part of a bias that was prepared for more queries and keys: what one shard of the queries and
/// one of the keys need, where a process or thread has a share of each. Where the bias keeps a sum
/// in its carry, the edges between the shard's last key and each query are added up once, in
/// O(queries * keys behind the shard).
template <Accumulator A, bool carries>
class SliceBias {
 public:
  static constexpr bool uses_carry = carries;

  /// Throws ArgumentError unless the range lies within the bias.
  SliceBias(BiasAction<A> whole, const ScoreRange& range)
      : whole_(std::move(whole)), range_(range) {
    check("query", range.query, range.queries, whole_.queries());
    check("key", range.key, range.keys, whole_.keys());
    if constexpr (carries) carry_from_behind();
  }

  Index batch() const { return whole_.batch(); }
  Index heads() const { return whole_.heads(); }
  Index queries() const { return range_.queries; }
  Index keys() const { return range_.keys; }
  /// Those of the whole bias, so that shards add to one; none where it keeps a carry.
  BiasGradientSizes gradient_sizes() const {
    return carries ? BiasGradientSizes{} : whole_.gradient_sizes();
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    whole_.tile(moved(where), out, row_stride);
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    if constexpr (!carries) {
      whole_.add_tile(moved(where), scores, row_stride, carry);
      return;
    }
    // `carry` holds what the slice's own keys have added to that from behind it.
    double sum[kRows];
    for (Index r = 0; r < where.queries; r += kRows) {
      ScoreTile rows = where;
      rows.query += r;
      rows.queries = (std::min)(kRows, where.queries - r);
      const double* behind = behind_.data() + at(where.batch, where.head, rows.query);
      for (Index i = 0; i < rows.queries; ++i) sum[i] = behind[i] + carry[r + i];
      whole_.add_tile(moved(rows), scores + r * row_stride, row_stride, sum);
      for (Index i = 0; i < rows.queries; ++i) carry[r + i] = sum[i] - behind[i];
    }
  }

  A upper_bound(const ScoreTile& where) const { return whole_.upper_bound(moved(where)); }

  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* before,
                const BiasGradients& gradients) const {
    if constexpr (carries) {
      detail::fail("bias", "a slice of a bias that sums edges", "the whole of it");
    } else {
      whole_.tile_vjp(moved(where), d_tile, row_stride, before, gradients);
    }
  }
  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    whole_.finish_vjp(batch, head, gradients);
  }

 private:
  static constexpr Index kRows = 64;

  static void check(std::string_view what, Index begin, Index count, Index size) {
    if (begin >= 0 && count >= 0 && begin <= size && count <= size - begin) return;
    detail::fail(what, detail::text("[", begin, ", ", begin, " + ", count, ")"),
                 detail::text("a range within the ", size, " of the bias"));
  }

  ScoreTile moved(ScoreTile where) const {
    where.query += range_.query;
    where.key += range_.key;
    return where;
  }
  Index at(Index batch, Index head, Index query) const {
    return (batch * heads() + head) * range_.queries + query;
  }

  void carry_from_behind() {
    behind_.assign(static_cast<std::size_t>(batch() * heads() * range_.queries), 0.0);
    std::vector<A> unused(static_cast<std::size_t>(kRows * kRows));
    const Index begin = range_.key + range_.keys;
    for (Index b = 0; b < batch(); ++b) {
      for (Index h = 0; h < heads(); ++h) {
        for (Index q = 0; q < range_.queries; q += kRows) {
          const Index rows = (std::min)(kRows, range_.queries - q);
          double* carry = behind_.data() + at(b, h, q);
          for (Index end = whole_.keys(); end > begin;) {
            const Index key = (std::max)(begin, (end - 1) / kRows * kRows);
            std::fill(unused.begin(), unused.end(), A(0));
            whole_.add_tile({b, h, range_.query + q, rows, key, end - key}, unused.data(), kRows,
                            carry);
            end = key;
          }
        }
      }
    }
  }

  BiasAction<A> whole_;
  ScoreRange range_;
  std::vector<double> behind_;  // [batch, heads, queries], the carry that the last key meets
};

/// The bias of a shard of the queries against a shard of the keys. For encodings whose tokens
/// depend on each other, such as FoX's gates: prepare the bias once for all tokens (O(seq)
/// numbers), and give each call of attend() its slice. A slice of a sum is the sum of slices.
///
///   auto shard = grape::slice(decay, {.query = 512, .queries = 256, .key = 0, .keys = 256});
///   attend(q, k, v, part, {.bias = &shard, .causal = true, .query_offsets = offsets, ..});
///
/// Throws ArgumentError unless the range lies within the bias.
template <Accumulator A>
BiasAction<A> slice(const BiasAction<A>& bias, const ScoreRange& range) {
  if (!bias.parts().empty()) {
    std::vector<BiasAction<A>> parts;
    for (const BiasAction<A>& part : bias.parts()) parts.push_back(slice(part, range));
    return BiasAction<A>(SumBias<A>(std::move(parts)));
  }
  if (bias.uses_carry()) return BiasAction<A>(SliceBias<A, true>(bias, range));
  return BiasAction<A>(SliceBias<A, false>(bias, range));
}

}  // namespace grape::inline v0
