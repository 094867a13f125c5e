// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/detail/widened.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Values of gates, one a token and head: of the queries [batch, queries, heads, 1], of the keys
/// [batch, keys, key_heads, 1]. What is absent counts as 0.
template <Accumulator A>
struct GateValues {
  std::optional<TensorView<const A>> query{};
  std::optional<TensorView<const A>> key{};
};

namespace detail {

/// Gates [batch, heads, capacity]; one row of zeros where there are none. What comes in is a view
/// of gates, or computes them where it is read.
template <class A>
struct GateRows {
  Index batch = 1, heads = 1, seq = 0, capacity = 0;
  bool given = false;
  std::vector<A> values;

  const A* row(Index b, Index head, Index of_heads) const {
    return values.data() +
           ((batch == 1 ? 0 : b) * heads + parameter_set(head, of_heads, heads)) * capacity;
  }
  /// Makes room, so that assign() cannot fail.
  template <class Gates>
  void reserve(const std::optional<Gates>& gates, Index count) {
    const Index rows = gates ? gates->batch() * gates->heads() : 1;
    const auto wanted = static_cast<std::size_t>(rows * count);
    if (values.size() < wanted) values.resize(wanted);
  }
  template <class Gates>
  void assign(const std::optional<Gates>& gates, Index count) {
    reserve(gates, count);
    batch = gates ? gates->batch() : 1;
    heads = gates ? gates->heads() : 1;
    given = gates.has_value();
    seq = 0;
    capacity = static_cast<Index>(values.size()) / std::max<Index>(batch * heads, 1);
    write(gates, count);
  }

  /// Makes room, so that append() cannot fail.
  void grow(Index count) {
    const Index wider = grown_stride(capacity, seq, seq + count);
    if (wider == capacity) return;
    values = widened(values, batch * heads, seq, capacity, wider);
    capacity = wider;
  }
  template <class Gates>
  void append(const std::optional<Gates>& more, Index count) {
    grow(count);
    write(more, count);
  }
  void truncate(Index count) { seq = count; }

 private:
  template <class Gates>
  void write(const std::optional<Gates>& more, Index count) {
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < heads; ++h) {
        A* to = values.data() + (b * heads + h) * capacity + seq;
        for (Index t = 0; t < count; ++t) to[t] = more ? (*more)(b, t, h, 0) : A(0);
      }
    }
    seq += count;
  }
};

template <class Gates>
void check_gates(std::string_view name, const std::optional<Gates>& gates,
                 const Positions& positions) {
  if (!gates) return;
  if (gates->heads() < 1) fail(text(name, " heads"), text(gates->heads()), "at least 1");
  if (gates->dim() != 1) {
    fail(text(name, " dim"), text(gates->dim()), "1, a gate a head");
  }
  if (gates->seq() != positions.seq()) {
    fail(text(name, " seq"), text(gates->seq()), text("the ", positions.seq(), " positions"));
  }
}

template <class Gates>
Index common_heads(const Gates& gates) {
  const Index q = gates.query ? gates.query->heads() : 1, k = gates.key ? gates.key->heads() : 1;
  if ((std::max)(q, k) % (std::min)(q, k) != 0) {
    fail("key gates heads", text(k), text("a divisor or multiple of the ", q, " query heads"));
  }
  return (std::max)(q, k);
}

template <class Gates>
Index common_batch(const Gates& gates) {
  const Index q = gates.query ? gates.query->batch() : 1, k = gates.key ? gates.key->batch() : 1;
  if (gates.query && gates.key && q != k) {
    fail("key gates batch", text(k), text("the queries' batch ", q));
  }
  return gates.query ? q : k;
}

}  // namespace detail
}  // namespace grape::inline v0
