// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {

/// What a bias says about keys after the query, j > i in position.
enum class Future {
  mask,       ///< -infinity: causal attention
  zero,       ///< nothing: the caller masks, as the paper's code does
  symmetric,  ///< the bias of distance |i - j|: bidirectional attention
};

/// A rectangle of scores: queries [query, query + queries) against keys [key, key + keys) of one
/// batch entry and one parameter head.
struct ScoreTile {
  Index batch;
  Index head;
  Index query;
  Index queries;
  Index key;
  Index keys;
};

/// Where add_bias_vjp and tile_vjp accumulate gradients of a bias's parameters; an empty span is
/// left alone.
struct BiasGradients {
  std::span<double> slopes{};  ///< [sets]
  /// [batch, keys, sets] of the bias: log forget gates, for add_bias_vjp.
  std::span<double> log_forget{};
  /// [keys] of the tile's batch entry and head: the path U, for tile_vjp, which cannot reach the
  /// gates between a tile's queries and keys. The gates' gradient is the suffix sums of this one.
  std::span<double> path{};
};

/// A bias over [batch, heads, queries, keys] that is computed a tile at a time and never stored
/// whole. `batch()` is 1 where all batch entries share it and `heads()` counts parameter heads. Any
/// user type that offers this can be made a BiasAction.
///   tile(where, out, row_stride)  writes out[r * row_stride + c] = b(query + r, key + c);
///   tile_vjp(where, d_tile, row_stride, gradients)  (optional) accumulates parameter gradients;
///   path_size()  (optional) the tokens whose gates make the path: keys() or 0.
template <class S, class A>
concept BiasSource = std::copy_constructible<S> &&
    requires(const S& s, const ScoreTile& where, A* out, Index row_stride) {
  { s.batch() } -> std::convertible_to<Index>;
  { s.heads() } -> std::convertible_to<Index>;
  { s.queries() } -> std::convertible_to<Index>;
  { s.keys() } -> std::convertible_to<Index>;
  { s.tile(where, out, row_stride) } -> std::same_as<void>;
};

/// A prepared bias, whatever makes it: the additive group action I + s A at given positions. The
/// type behind it is erased, one virtual call a tile. Copies share the immutable source; safe to
/// share between threads.
template <Accumulator A>
class BiasAction {
 public:
  using Scalar = A;

  /// An action on no queries and no keys; prepare it with Encoder::at.
  BiasAction() = default;

  template <class Source>
  requires(!std::same_as<Source, BiasAction> &&
           BiasSource<Source, A>) explicit BiasAction(Source source)
      : source_(std::make_shared<Erased<Source>>(std::move(source))) {}

  /// 1 where all batch entries share the bias.
  Index batch() const { return source_ ? source_->batch() : 1; }
  /// Parameter heads: scores of H heads use number h * heads() / H.
  Index heads() const { return source_ ? source_->heads() : 1; }
  Index queries() const { return source_ ? source_->queries() : 0; }
  Index keys() const { return source_ ? source_->keys() : 0; }
  /// Tokens whose gates make the path, keys(); 0 where the path is made of positions.
  Index path_size() const { return source_ ? source_->path_size() : 0; }

  /// One entry, for a parameter head. Throws ArgumentError for an index out of range.
  A operator()(Index batch, Index head, Index query, Index key) const {
    detail::check_index("batch", batch, this->batch());
    detail::check_index("head", head, heads());
    detail::check_index("query", query, queries());
    detail::check_index("key", key, keys());
    A out{};
    source_->tile({batch, head, query, 1, key, 1}, &out, 1);
    return out;
  }

  /// Writes a tile: out[r * row_stride + c] is the bias of query + r and key + c. The tile must lie
  /// within batch(), heads(), queries() and keys(), which is not checked here.
  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    source_->tile(where, out, row_stride);
  }

  /// Accumulates the gradients of the parameters from a tile of gradients of the bias. Throws
  /// ArgumentError where the source has none.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride,
                BiasGradients& gradients) const {
    source_->tile_vjp(where, d_tile, row_stride, gradients);
  }

  /// The source when it is a `Source` that no other action shares, to be prepared again in place.
  template <class Source>
  Source* unshared() {
    if (source_.use_count() != 1) return nullptr;
    if (source_->type() != &Erased<Source>::kType) return nullptr;
    return &static_cast<Erased<Source>*>(source_.get())->source;
  }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual const void* type() const = 0;  // stands in for RTTI, which users may switch off
    virtual Index batch() const = 0;
    virtual Index heads() const = 0;
    virtual Index queries() const = 0;
    virtual Index keys() const = 0;
    virtual Index path_size() const = 0;
    virtual void tile(const ScoreTile&, A*, Index) const = 0;
    virtual void tile_vjp(const ScoreTile&, const A*, Index, BiasGradients&) const = 0;
  };

  template <class Source>
  struct Erased final : Interface {
    static constexpr char kType = 0;
    explicit Erased(Source s) : source(std::move(s)) {}
    const void* type() const override { return &kType; }
    Index batch() const override { return source.batch(); }
    Index heads() const override { return source.heads(); }
    Index queries() const override { return source.queries(); }
    Index keys() const override { return source.keys(); }
    Index path_size() const override {
      if constexpr (requires { source.path_size(); }) {
        return source.path_size();
      } else {
        return 0;
      }
    }
    void tile(const ScoreTile& where, A* out, Index row_stride) const override {
      source.tile(where, out, row_stride);
    }
    void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride,
                  BiasGradients& gradients) const override {
      if constexpr (requires { source.tile_vjp(where, d_tile, row_stride, gradients); }) {
        source.tile_vjp(where, d_tile, row_stride, gradients);
      } else {
        detail::fail("bias", "a source without tile_vjp", "a differentiable bias");
      }
    }
    Source source;
  };

  std::shared_ptr<Interface> source_;
};

}  // namespace grape::inline v0
