// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "grape/attention/detail/online_softmax.hpp"
#include "grape/attention/detail/product.hpp"
#include "grape/attention/detail/tile.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/detail/aligned.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {
namespace detail {

/// AttendOptions with every default filled in, and the shapes that no view of the queries tells.
template <class A>
struct AttentionPlan {
  Index keys, key_heads, value_dim;
  bool causal;
  Index window;
  std::span<const Index> key_lengths, query_offsets;
  A scale;
  const BiasAction<A>* bias;
  std::span<A> log_sum;
  double skip_below;  // 0: never

  bool skips() const { return skip_below > 0; }

  Visibility visible(Index b, Index queries) const {
    const auto entry = static_cast<std::size_t>(query_offsets.size() == 1 ? 0 : b);
    return {keys, key_lengths.empty() ? keys : key_lengths[static_cast<std::size_t>(b)],
            query_offsets.empty() ? keys - queries : query_offsets[entry], causal, window};
  }
  /// The keys that tiles must cover for queries [query, query + count).
  KeyRange tiles(const Visibility& visible, Index query, Index count) const {
    const KeyRange range = visible.of(query, count);
    // Beyond the padding's start a bias alone goes on: its edges lie between query and key.
    const Index end = bias != nullptr ? range.end : (std::min)(range.end, visible.length);
    return {range.first, (std::max)(range.first, end)};
  }
};

/// Where the tile that ends before key `end` starts, where `front` slots of the first tile hold no
/// key.
inline Index tile_start(Index end, Index front) {
  return std::max<Index>(0, (end - 1 + front) / kKeys * kKeys - front);
}

/// The tile of a bias: head h of `heads`, whose scores start at (query, key).
template <class A>
ScoreTile bias_tile(const BiasAction<A>& bias, Index b, Index h, Index heads, Index query,
                    Index queries, Index key, Index keys) {
  return {
      bias.batch() == 1 ? 0 : b, parameter_set(h, heads, bias.heads()), query, queries, key, keys};
}

template <class A>
double length_of(const A* row, Index dim) {
  double sum = 0;
  for (Index d = 0; d < dim; ++d) sum += static_cast<double>(row[d]) * static_cast<double>(row[d]);
  return std::sqrt(sum);
}

/// One run of up to kQueries queries of one head, carried over the key tiles from the last to the
/// first: `output` holds sum_j exp(score_j - maximum) v_j so far.
template <class A>
class QueryRun {
 public:
  template <class T>
  void start(const TensorView<const T>& q, const AttentionPlan<A>& plan, Index b, Index h,
             Index first, Index rows) {
    batch_ = b;
    head_ = h;
    first_ = first;
    rows_ = rows;
    dim_ = q.dim();
    value_columns_ = round_to_lanes<A>(plan.value_dim);
    memory_.resize(static_cast<std::size_t>(rows * (dim_ + value_columns_)));
    pack_rows(q, b, h, first, rows, plan.scale, memory_.data(), dim_);
    std::fill_n(output(), rows * value_columns_, A(0));
    std::fill_n(carry_, rows, 0.0);
    state_.start();
    if (!plan.skips()) return;
    for (Index r = 0; r < rows; ++r) norm_[r] = length_of(memory_.data() + r * dim_, dim_);
  }

  /// scores [rows, kKeys] of keys [key, key + count) <- q k^T + bias, hidden ones -infinity, up to
  /// whole registers of columns. Only the bias is told where all of the keys are padding. `ahead`
  /// are the keys of the next tile (see multiply).
  void score(const AttentionPlan<A>& plan, const Visibility& visible, Index heads, const A* keys,
             Index key, Index count, A* scores, const A* ahead) {
    const Index columns = round_to_lanes<A>(count);
    multiply<Start::zero, A>({memory_.data(), dim_, 1}, keys, kKeys, scores, kKeys, rows_, dim_,
                             columns, nullptr, ahead);
    add_bias(plan, heads, key, count, scores);
    mask_tile(visible, first_, rows_, key, count, scores);
  }

  void add_bias(const AttentionPlan<A>& plan, Index heads, Index key, Index count, A* scores) {
    if (plan.bias == nullptr) return;
    plan.bias->add_tile(bias_tile(*plan.bias, batch_, head_, heads, first_, rows_, key, count),
                        scores, kKeys, carry_);
  }

  /// Takes the tile of scores, which become weights, and its values into the output.
  void take(A* scores, const A* values, Index count, const A* ahead) {
    softmax_tile(scores, rows_, round_to_lanes<A>(count), state_);
    multiply<Start::scaled>(Factor<A>{scores, kKeys, 1}, values, value_columns_, output(),
                            value_columns_, rows_, count, value_columns_, state_.rescale, ahead);
  }

  /// Whether no key before `end` can get a weight of plan.skip_below or more: its product is
  /// at most |q| |k|, its bias at most the bound of the bias, and the row's sum at least
  /// exp(maximum). `longest` bounds |k|.
  bool negligible(const AttentionPlan<A>& plan, Index heads, KeyRange range, double longest) const {
    if (!plan.skips()) return false;
    double reach = plan.bias == nullptr ? 0
                                        : static_cast<double>(plan.bias->upper_bound(bias_tile(
                                              *plan.bias, batch_, head_, heads, first_, rows_,
                                              range.first, range.end - range.first)));
    reach -= std::log(plan.skip_below);
    for (Index r = 0; r < rows_; ++r) {
      const double most = static_cast<double>(state_.maximum[r]);
      if (!(norm_[r] * longest + reach < most)) return false;
    }
    return true;
  }

  template <class T>
  void finish(const TensorView<T>& out, const AttentionPlan<A>& plan) {
    for (Index r = 0; r < rows_; ++r) {
      A* row = output() + r * value_columns_;
      const A inverse = state_.inverse(r);
      for (Index d = 0; d < value_columns_; ++d) row[d] *= inverse;
      store(row, out.stride(3), out.dim(), &out(batch_, first_ + r, head_, 0));
      if (!plan.log_sum.empty()) {
        const Index at = (batch_ * out.heads() + head_) * out.seq() + first_ + r;
        plan.log_sum[static_cast<std::size_t>(at)] = state_.log_sum(r);
      }
    }
  }

 private:
  A* output() { return memory_.data() + rows_ * dim_; }

  Index batch_, head_, first_, rows_, dim_, value_columns_;
  LineVector<A> memory_;  // queries [rows, dim], scaled, then output [rows, value columns]
  double carry_[kQueries], norm_[kQueries];
  SoftmaxRows<A> state_;
};

/// Query heads that one task serves. Few queries leave little to do with a tile of keys once it is
/// loaded, so then all heads that share it take their turn.
inline Index heads_of_task(Index queries, Index group) { return queries <= 16 ? group : 1; }

/// out = softmax(q k^T + bias) v: a task for each run of queries of a head. `tiles` hands out key
/// tiles: tiles.load(batch, key head, key, count, scratch) with scratch of tiles.scratch() entries,
/// on a grid that begins tiles.front(batch) slots before the first key.
template <class Q, class Tiles, class T, class A, Executor E>
void attend_forward(const TensorView<const Q>& q, const Tiles& tiles, const TensorView<T>& out,
                    const AttentionPlan<A>& plan, const E& executor) {
  const Index heads = q.heads(), group = heads / plan.key_heads;
  const Index together = heads_of_task(q.seq(), group);
  const Index runs = (q.seq() + kQueries - 1) / kQueries, slots = heads / together;
  executor.run(q.batch() * slots * runs, [&](Index task) {
    const Index run = task % runs, b = task / runs / slots, h = task / runs % slots * together;
    const Index first = run * kQueries, rows = (std::min)(kQueries, q.seq() - first);
    const Visibility visible = plan.visible(b, q.seq());
    const KeyRange range = plan.tiles(visible, first, rows);
    LineVector<A> scratch(static_cast<std::size_t>(tiles.scratch() + rows * kKeys));
    A* scores = scratch.data() + tiles.scratch();
    std::vector<QueryRun<A>> members(static_cast<std::size_t>(together));
    for (Index m = 0; m < together; ++m) {
      members[static_cast<std::size_t>(m)].start(q, plan, b, h + m, first, rows);
    }
    Index end = range.end;
    for (Index key; end > range.first; end = key) {
      key = tile_start(end, tiles.front(b));
      const Index count = end - key;
      if (plan.skips()) {
        const double longest = tiles.longest(b, h / group, end);
        const auto is_negligible = [&](const QueryRun<A>& member) {
          return member.negligible(plan, heads, {range.first, end}, longest);
        };
        if (std::all_of(members.begin(), members.end(), is_negligible)) break;
      }
      if (key >= visible.length) {
        for (auto& member : members) member.add_bias(plan, heads, key, count, scores);
        continue;
      }
      const KeyTile<A> tile = tiles.load(b, h / group, key, count, scratch.data());
      KeyTile<A> next{};  // the tile before this one, where it can be read as it lies in memory
      if constexpr (requires {
                      { tiles.in_place(b, h, key) } -> std::same_as<KeyTile<A>>;
                    }) {
        const Index before = tile_start(key, tiles.front(b));
        if (key > range.first && key - before == kKeys) next = tiles.in_place(b, h / group, before);
      }
      for (auto& member : members) {
        member.score(plan, visible, heads, tile.keys, key, count, scores, next.keys);
        member.take(scores, tile.values, count, next.values);
        next = {};  // fetched once is enough
      }
    }
    for (auto& member : members) member.finish(out, plan);
  });
}

/// Keys and values of tensors, packed a tile at a time by the task that needs it: for few queries.
template <class K, class T>
class TensorTiles {
 public:
  using A = accumulation_t<T>;

  TensorTiles(const TensorView<const K>& keys, const TensorView<const T>& values,
              std::span<const Index> lengths)
      : keys_(keys), values_(values), lengths_(lengths) {}

  Index front(Index /*b*/) const { return 0; }
  double longest(Index, Index, Index) const { return std::numeric_limits<double>::infinity(); }
  Index value_columns() const { return round_to_lanes<A>(values_.dim()); }
  Index tile_size() const { return kKeys * (keys_.dim() + value_columns()); }
  Index scratch() const { return tile_size() + (std::max)(keys_.dim(), values_.dim()); }
  KeyTile<A> load(Index b, Index h, Index key, Index count, A* scratch) const {
    pack(b, h, key, count, scratch, scratch + tile_size());
    return {scratch, scratch + kKeys * keys_.dim()};
  }
  void pack(Index b, Index h, Index key, Index count, A* tile, A* row) const {
    const Index length = lengths_.empty() ? keys_.seq() : lengths_[static_cast<std::size_t>(b)];
    const Index present = (std::min)(count, length - key);
    pack_transposed(keys_, b, h, key, present, tile, row);
    A* values = tile + kKeys * keys_.dim();
    pack_rows(values_, b, h, key, present, A(1), values, value_columns());
    std::fill_n(values + present * value_columns(), (kKeys - present) * value_columns(), A(0));
  }

 private:
  TensorView<const K> keys_;
  TensorView<const T> values_;
  std::span<const Index> lengths_;
};

/// The same packed once, for many runs of queries.
template <class A>
class PackedTiles {
 public:
  template <class K, class T, Executor E>
  PackedTiles(const TensorTiles<K, T>& source, Index batch, Index heads, Index keys, Index dim,
              std::span<const Index> lengths, AttendWorkspace<A>& workspace, const E& executor)
      : heads_(heads),
        tiles_((keys + kKeys - 1) / kKeys),
        size_(source.tile_size()),
        values_(kKeys * dim),
        memory_(workspace.get(AttendWorkspace<A>::tiles, batch * heads * tiles_ * size_)),
        longest_(static_cast<std::size_t>(batch * heads * tiles_), 0.0) {
    executor.run(batch * heads, [&](Index i) {
      LineVector<A> row(static_cast<std::size_t>(source.scratch() - size_));
      const Index b = i / heads;
      double longest = 0;
      const Index length = lengths.empty() ? keys : lengths[static_cast<std::size_t>(b)];
      for (Index key = 0; key < length; key += kKeys) {
        source.pack(b, i % heads, key, (std::min)(kKeys, keys - key), at(b, i % heads, key),
                    row.data());
        longest = (std::max)(longest, longest_key(at(b, i % heads, key)));
        longest_[static_cast<std::size_t>(i * tiles_ + key / kKeys)] = longest;
      }
      for (Index t = (length + kKeys - 1) / kKeys; t < tiles_; ++t) {
        longest_[static_cast<std::size_t>(i * tiles_ + t)] = longest;
      }
    });
  }

  Index front(Index /*b*/) const { return 0; }
  Index scratch() const { return 0; }
  /// A bound of the lengths of all keys before `end`.
  double longest(Index b, Index h, Index end) const {
    return longest_[static_cast<std::size_t>((b * heads_ + h) * tiles_ + (end - 1) / kKeys)];
  }
  KeyTile<A> load(Index b, Index h, Index key, Index /*count*/, A* /*scratch*/) const {
    const A* tile = memory_ + ((b * heads_ + h) * tiles_ + key / kKeys) * size_;
    return {tile, tile + values_};
  }

 private:
  A* at(Index b, Index h, Index key) {
    return memory_ + ((b * heads_ + h) * tiles_ + key / kKeys) * size_;
  }

  /// Infinity where a key is no number: such a tile is never left out.
  double longest_key(const A* keys) const {
    double most = 0;
    double squares[kKeys] = {};
    for (Index d = 0; d < values_ / kKeys; ++d, keys += kKeys) {
      for (Index c = 0; c < kKeys; ++c) {
        squares[c] += static_cast<double>(keys[c]) * static_cast<double>(keys[c]);
      }
    }
    for (const double x : squares) {
      if (!is_finite(x)) return std::numeric_limits<double>::infinity();
      most = (std::max)(most, x);
    }
    return std::sqrt(most);
  }

  Index heads_, tiles_, size_, values_;
  A* memory_;                    // of the workspace
  std::vector<double> longest_;  // [batch, heads, tiles], of all keys up to the tile's last
};

}  // namespace detail
}  // namespace grape::inline v0
