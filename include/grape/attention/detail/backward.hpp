// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "grape/attention/detail/bias_gradients.hpp"
#include "grape/attention/detail/forward.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/attention/detail/product.hpp"
#include "grape/attention/detail/tile.hpp"
#include "grape/core/config.hpp"
#include "grape/core/detail/aligned.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"

namespace grape::inline v0 {
namespace detail {

inline namespace GRAPE_ISA {

/// d[c] = p[c] (d[c] - mean): from the gradient of the weights p to that of the scores.
template <class A>
void softmax_row_vjp(const A* GRAPE_RESTRICT p, A mean, Index columns, A* GRAPE_RESTRICT d) {
  for (Index c = 0; c < columns; ++c) d[c] = p[c] * (d[c] - mean);
}

}  // namespace GRAPE_ISA

/// The keys and values of one key head, packed for the backward products, and their gradients:
/// tile by tile, [dim, kKeys] and [kKeys, columns], as many as cover the keys.
template <class A>
class KeyHead {
 public:
  KeyHead(Index keys, Index dim, Index value_dim)
      : tiles_((keys + kKeys - 1) / kKeys),
        dim_(dim),
        columns_(round_to_lanes<A>(dim)),
        value_dim_(value_dim),
        value_columns_(round_to_lanes<A>(value_dim)),
        memory_(static_cast<std::size_t>(tiles_ * kKeys *
                                             (dim + value_dim + 2 * columns_ + value_columns_) +
                                         (std::max)(dim, value_dim))) {}

  template <class K, class T>
  void load(const TensorView<const K>& k, const TensorView<const T>& v, Index b, Index h,
            Index length) {
    std::fill(d_keys(0), memory_.data() + memory_.size(), A(0));
    A* row = memory_.data() + memory_.size() - (std::max)(dim_, value_dim_);
    for (Index key = 0; key < length; key += kKeys) {
      const Index count = (std::min)(kKeys, length - key);
      pack_transposed(k, b, h, key, count, turned_keys(key), row);
      pack_transposed(v, b, h, key, count, turned_values(key), row);
      pack_rows(k, b, h, key, count, A(1), keys(key), columns_);
      std::fill_n(keys(key) + count * columns_, (kKeys - count) * columns_, A(0));
    }
  }

  template <class K, class T>
  void store_gradients(const TensorView<K>& d_k, const TensorView<T>& d_v, Index b, Index h) {
    for (Index t = 0; t < d_k.seq(); ++t) {
      store(d_keys(t), d_k.stride(3), dim_, &d_k(b, t, h, 0));
      store(d_values(t), d_v.stride(3), value_dim_, &d_v(b, t, h, 0));
    }
  }

  Index columns() const { return columns_; }
  Index value_columns() const { return value_columns_; }
  // Tiles that start at a key; d_keys and d_values may start at any.
  A* turned_keys(Index key) { return memory_.data() + key * dim_; }
  A* turned_values(Index key) { return turned_keys(tiles_ * kKeys) + key * value_dim_; }
  A* keys(Index key) { return turned_values(tiles_ * kKeys) + key * columns_; }
  A* d_keys(Index key) { return keys(tiles_ * kKeys) + key * columns_; }
  A* d_values(Index key) { return d_keys(tiles_ * kKeys) + key * value_columns_; }

 private:
  Index tiles_, dim_, columns_, value_dim_, value_columns_;
  LineVector<A> memory_;
};

/// What a run of queries needs on the way back: scaled queries, output gradients, their products
/// with the output, and a tile of weights and one of score gradients.
template <class A>
class BackwardRun {
 public:
  BackwardRun(Index columns, Index value_columns)
      : columns_(columns),
        value_columns_(value_columns),
        memory_(
            static_cast<std::size_t>(kQueries * (2 * columns + 2 * value_columns + 2 * kKeys))) {}

  template <class Q, class T>
  void start(const TensorView<const Q>& q, const TensorView<const T>& out,
             const TensorView<const T>& d_out, const AttentionPlan<A>& plan, Index b, Index h,
             Index first, Index rows) {
    batch_ = b;
    head_ = h;
    first_ = first;
    rows_ = rows;
    pack_rows(q, b, h, first, rows, plan.scale, queries(), columns_);
    pack_rows(d_out, b, h, first, rows, A(1), d_output(), value_columns_);
    pack_rows(out, b, h, first, rows, A(1), output(), value_columns_);
    std::fill_n(d_queries(), rows * columns_, A(0));
    std::fill_n(carry_, rows, 0.0);
    std::fill_n(before_, rows, 0.0);
    const A* log_sum = plan.log_sum.data() + (b * q.heads() + h) * q.seq() + first;
    for (Index r = 0; r < rows; ++r) {
      // sum_j p_j <d_out, v_j>, what all scores of the row share.
      double mean = 0;
      for (Index d = 0; d < out.dim(); ++d) {
        mean += static_cast<double>(d_output()[r * value_columns_ + d]) *
                static_cast<double>(output()[r * value_columns_ + d]);
      }
      mean_[r] = static_cast<A>(mean);
      base_[r] = is_minus_infinity(log_sum[r]) ? A(0) : log_sum[r];
    }
  }

  void carry_bias(const AttentionPlan<A>& plan, Index heads, Index key, Index count) {
    plan.bias->add_tile(bias_tile(*plan.bias, batch_, head_, heads, first_, rows_, key, count),
                        weights(), kKeys, carry_);
  }

  /// Keys [key, key + count): the weights again, then every gradient that they take part in.
  void take(const AttentionPlan<A>& plan, const Visibility& visible, Index heads, KeyHead<A>& k,
            Index key, Index count, Index dim, std::span<const BiasTask<A>> biases) {
    const Index columns = round_to_lanes<A>(count);
    multiply<Start::zero>(Factor<A>{queries(), columns_, 1}, k.turned_keys(key), kKeys, weights(),
                          kKeys, rows_, dim, columns);
    if (plan.bias != nullptr) carry_bias(plan, heads, key, count);
    mask_tile(visible, first_, rows_, key, count, weights());
    multiply<Start::zero>(Factor<A>{d_output(), value_columns_, 1}, k.turned_values(key), kKeys,
                          d_scores(), kKeys, rows_, plan.value_dim, columns);
    for (Index r = 0; r < rows_; ++r) {
      exp_row(weights() + r * kKeys, columns, base_[r]);
      softmax_row_vjp(weights() + r * kKeys, mean_[r], columns, d_scores() + r * kKeys);
    }
    if (!biases.empty()) bias_vjp(biases, heads, key, count);
    multiply<Start::add>(Factor<A>{d_scores(), kKeys, 1}, k.keys(key), columns_, d_queries(),
                         columns_, rows_, count, columns_);
    multiply<Start::add>(Factor<A>{d_scores(), 1, kKeys}, queries(), columns_, k.d_keys(key),
                         columns_, count, rows_, columns_);
    multiply<Start::add>(Factor<A>{weights(), 1, kKeys}, d_output(), value_columns_,
                         k.d_values(key), value_columns_, count, rows_, value_columns_);
  }

  template <class Q>
  void finish(const TensorView<Q>& d_q, const AttentionPlan<A>& plan) {
    for (Index r = 0; r < rows_; ++r) {
      A* row = d_queries() + r * columns_;
      for (Index d = 0; d < columns_; ++d) row[d] *= plan.scale;
      store(row, d_q.stride(3), d_q.dim(), &d_q(batch_, first_ + r, head_, 0));
    }
  }

 private:
  void bias_vjp(std::span<const BiasTask<A>> biases, Index heads, Index key, Index count) {
    for (Index r = 0; r < rows_; ++r) {
      // A row's score gradients add up to 0: what lies before the tile is minus the rest.
      double sum = 0;
      for (Index c = 0; c < count; ++c) sum += static_cast<double>(d_scores()[r * kKeys + c]);
      before_[r] -= sum;
    }
    for (const BiasTask<A>& task : biases) {
      task.bias->tile_vjp(bias_tile(*task.bias, batch_, head_, heads, first_, rows_, key, count),
                          d_scores(), kKeys, before_, task.gradients);
    }
  }

  A* queries() { return memory_.data(); }
  A* d_queries() { return queries() + kQueries * columns_; }
  A* d_output() { return d_queries() + kQueries * columns_; }
  A* output() { return d_output() + kQueries * value_columns_; }
  A* weights() { return output() + kQueries * value_columns_; }
  A* d_scores() { return weights() + kQueries * kKeys; }

  Index columns_, value_columns_;
  Index batch_ = 0, head_ = 0, first_ = 0, rows_ = 0;
  LineVector<A> memory_;
  double carry_[kQueries], before_[kQueries];
  A mean_[kQueries], base_[kQueries];
};

/// The tensors of attend_backward; Q and K are the element types of queries and keys, which are
/// those of rotated copies where there is a rotation.
template <class Q, class K, class T>
struct BackwardTensors {
  TensorView<const Q> q;
  TensorView<const K> k;
  TensorView<const T> v, out, d_out;
  TensorView<Q> d_q;
  TensorView<K> d_k;
  TensorView<T> d_v;
};
template <class Q, class K, class T>
BackwardTensors(TensorView<const Q>, TensorView<const K>, TensorView<const T>, TensorView<const T>,
                TensorView<const T>, TensorView<Q>, TensorView<K>, TensorView<T>)
    -> BackwardTensors<Q, K, T>;

/// Gradients of attend_forward, overwritten, and of biases, added to. A task serves whole key heads
/// and, for a bias's gradients, whole parameter heads.
template <class Q, class K, class T, class A, Executor E>
void attend_backward(const BackwardTensors<Q, K, T>& x, const AttentionPlan<A>& plan,
                     std::span<const BiasLeaf<A>> leaves, const E& executor) {
  const Index heads = x.q.heads(), batch = x.q.batch();
  Index units = plan.key_heads;
  std::vector<BatchGradients> of_batch;
  for (const BiasLeaf<A>& leaf : leaves) {
    units = std::gcd(units, leaf.bias->heads());
    of_batch.emplace_back(leaf.gradients, leaf.bias->batch(), batch);
  }
  const Index width = heads / units;
  executor.run(batch * units, [&](Index task) {
    const Index b = task / units, first_head = task % units * width;
    const Visibility visible = plan.visible(b, x.q.seq());
    std::vector<BiasTask<A>> biases;
    biases.reserve(leaves.size());  // tasks point into themselves
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      biases.emplace_back(*leaves[i].bias, of_batch[i].of(b));
    }
    KeyHead<A> k(x.k.seq(), x.k.dim(), x.v.dim());
    BackwardRun<A> run(k.columns(), k.value_columns());
    for (Index h = first_head; h < first_head + width; ++h) {
      const Index group = heads / plan.key_heads, key_head = h / group;
      if (h % group == 0) k.load(x.k, x.v, b, key_head, visible.length);
      for (Index first = 0; first < x.q.seq(); first += kQueries) {
        const Index rows = (std::min)(kQueries, x.q.seq() - first);
        run.start(x.q, x.out, x.d_out, plan, b, h, first, rows);
        const KeyRange range = plan.tiles(visible, first, rows);
        Index end = range.end;
        for (Index key; end > range.first; end = key) {
          key = tile_start(end, 0);
          if (key >= visible.length) {
            run.carry_bias(plan, heads, key, end - key);
          } else {
            run.take(plan, visible, heads, k, key, end - key, x.q.dim(),
                     std::span<const BiasTask<A>>(biases));
          }
        }
        run.finish(x.d_q, plan);
      }
      if (h % group == group - 1) k.store_gradients(x.d_k, x.d_v, b, key_head);
      for (BiasTask<A>& bias : biases) bias.finish(b, h, heads);
    }
  });
  for (BatchGradients& gradients : of_batch) gradients.add_up();
}

}  // namespace detail
}  // namespace grape::inline v0
