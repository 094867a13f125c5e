// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <limits>

#include "grape/apply/detail/convert.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/attention/detail/product.hpp"
#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {
namespace detail {

/// The keys [first, end) of a row, a block or a batch entry.
struct KeyRange {
  Index first, end;
};

/// Which keys the queries of a batch entry see: query i stands at key index i + offset.
struct Visibility {
  Index keys;    ///< k_len
  Index length;  ///< keys before padding
  Index offset;
  bool causal;
  Index window;  ///< 0: none

  /// Keys that causality and window leave to query i, padding among them.
  KeyRange of(Index query) const {
    const Index at = query + offset;
    Index first = 0, end = keys;
    if (causal) end = (std::min)(end, at + 1);
    if (window > 0) {
      first = (std::max)(first, at - window + 1);
      end = (std::min)(end, at + window);
    }
    return {first, (std::max)(end, Index{0})};
  }
  /// Those of all queries [query, query + count) together.
  KeyRange of(Index query, Index count) const {
    return {of(query).first, of(query + count - 1).end};
  }
};

/// Writes -infinity to the columns of a tile of scores that a query does not see, and to those from
/// `count` on up to a whole register. Column 0 is key `key`; rows are kKeys apart.
template <class A>
void mask_tile(const Visibility& visible, Index query, Index rows, Index key, Index count,
               A* scores) {
  const Index columns = round_to_lanes<A>(count);
  constexpr A kHidden = -std::numeric_limits<A>::infinity();
  const KeyRange low = visible.of(query), high = visible.of(query + rows - 1);
  if (columns == count && high.first <= key && (std::min)(low.end, visible.length) >= key + count) {
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    const KeyRange range = visible.of(query + r);
    A* row = scores + r * kKeys;
    const Index first = std::clamp(range.first - key, Index{0}, count);
    const Index end = std::clamp((std::min)(range.end, visible.length) - key, first, count);
    std::fill(row, row + first, kHidden);
    std::fill(row + end, row + columns, kHidden);
  }
}

inline namespace GRAPE_ISA {

/// Rows [first, first + count) of one head as a dense matrix [count, columns >= dim] times
/// `factor`, filled up with zeros.
template <class T, class A>
void pack_rows(const TensorView<T>& x, Index b, Index h, Index first, Index count, A factor, A* out,
               Index columns) {
  const Index dim = x.dim();
  for (Index t = 0; t < count; ++t, out += columns) {
    load(&x(b, first + t, h, 0), x.stride(3), dim, out);
    if (factor != 1) {
      for (Index d = 0; d < dim; ++d) out[d] *= factor;
    }
    std::fill(out + dim, out + columns, A(0));
  }
}

/// Rows [first, first + count) of one head, transposed: [dim, kKeys], filled up with zeros. `row`
/// is scratch for one of them.
template <class T, class A>
void pack_transposed(const TensorView<T>& x, Index b, Index h, Index first, Index count, A* out,
                     A* row) {
  const Index dim = x.dim();
  if (count < kKeys) std::fill(out, out + dim * kKeys, A(0));
  for (Index t = 0; t < count; ++t) {
    load(&x(b, first + t, h, 0), x.stride(3), dim, row);
    for (Index d = 0; d < dim; ++d) out[d * kKeys + t] = row[d];
  }
}

}  // namespace GRAPE_ISA

/// A tile of keys [dim, kKeys] and of values [kKeys, value columns], packed.
template <class A>
struct KeyTile {
  const A* keys;
  const A* values;
};

}  // namespace detail
}  // namespace grape::inline v0
