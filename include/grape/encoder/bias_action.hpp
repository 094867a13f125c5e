// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "grape/core/detail/sole_owner.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_source.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/encoder/lift_source.hpp"

namespace grape::inline v0 {

/// A prepared bias, whatever makes it: the additive group action I + s A at given positions. The
/// type behind it is erased, one virtual call a tile. Copies share the immutable source; safe to
/// share between threads.
template <Accumulator A>
class BiasAction {
 public:
  using Scalar = A;

  /// An action on no queries and no keys; prepare it with Encoder::at.
  BiasAction() = default;

  /// Says what {.bias = action} lacks: no action is a pointer.
  template <class B = A>
  operator const BiasAction*() const {  // NOLINT(google-explicit-constructor)
    static_assert(sizeof(B) == 0,
                  "grape: options point to an action: write {.bias = &action}, with an &");
    return nullptr;
  }

  /// The bias that a source writes; it may be of the user's own.
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
  /// Which gradients tile_vjp and add_bias_vjp can give.
  BiasGradientSizes gradient_sizes() const {
    return source_ ? source_->gradient_sizes() : BiasGradientSizes{};
  }

  /// Of a sum of biases its parts, else none.
  std::span<const BiasAction> parts() const {
    return source_ ? source_->parts() : std::span<const BiasAction>{};
  }
  /// Whether add_tile keeps a sum in its carry, so that no other bias may use the same.
  bool uses_carry() const { return source_ && source_->uses_carry(); }

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

  /// Adds a tile to what is there: scores[r * row_stride + c] += b(query + r, key + c). Tiles of a
  /// run of queries must be visited from the last key to the first, with carry [where.queries]
  /// zero before the first of them (see BiasSource). Not checked, like tile().
  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    source_->add_tile(where, scores, row_stride, carry);
  }

  /// A number that no entry of the tile exceeds; infinity where the source does not tell.
  A upper_bound(const ScoreTile& where) const { return source_->upper_bound(where); }

  /// Accumulates gradients from a tile of gradients of the bias; before[r] is the sum of that
  /// gradient over the keys of row r before where.key. After the last tile of a batch entry and
  /// head comes finish_vjp. Throws ArgumentError where the source has no gradients.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* before,
                const BiasGradients& gradients) const {
    source_->tile_vjp(where, d_tile, row_stride, before, gradients);
  }
  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    source_->finish_vjp(batch, head, gradients);
  }

  /// Forgets the keys from `keys` on, after a draft that was refused; the queries go with them,
  /// until Encoder::append brings the next. What is appended then has the bits that it would have
  /// had before. Throws ArgumentError unless keys is in [0, keys()], and where the source cannot.
  void truncate(Index keys) {
    if (keys < 0 || keys > this->keys()) {
      detail::fail("keys", detail::text(keys), detail::text("a value in [0, ", this->keys(), "]"));
    }
    if (!source_) return;
    check_truncate();
    own();
    source_->truncate(keys);
  }

  /// The bias as a sum of products of a query's and a key's numbers (see LiftSource). Throws
  /// ArgumentError where it is none.
  const LiftSource& lift() const {
    const LiftSource* source = source_ ? source_->lift() : nullptr;
    if (source == nullptr) {
      detail::fail("bias", source_ ? "a source that is no LiftSource" : "an empty action",
                   "a bias that can be lifted, such as ALiBi's, FoX's or a gated one");
    }
    return *source;
  }

  /// Throws ArgumentError unless the source can forget keys.
  void check_truncate() const {
    if (source_) source_->check_truncate();
  }

  /// The source when it is a `Source`, else null.
  template <class Source>
  const Source* source() const {
    if (!source_ || source_->type() != &Erased<Source>::kType) return nullptr;
    return &static_cast<const Erased<Source>*>(source_.get())->source;
  }
  bool has_source() const { return source_ != nullptr; }
  /// The same to be changed: a copy of its own where another action shares it.
  template <class Source>
  Source* own() {
    if (source<Source>() == nullptr) return nullptr;
    own();
    return &static_cast<Erased<Source>*>(source_.get())->source;
  }

  /// The source when it is a `Source` that no other action shares, to be prepared again in place.
  template <class Source>
  Source* unshared() {
    if (source<Source>() == nullptr || !detail::is_sole_owner(source_)) return nullptr;
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
    virtual BiasGradientSizes gradient_sizes() const = 0;
    virtual std::span<const BiasAction> parts() const = 0;
    virtual bool uses_carry() const = 0;
    virtual A upper_bound(const ScoreTile&) const = 0;
    virtual void tile(const ScoreTile&, A*, Index) const = 0;
    virtual void add_tile(const ScoreTile&, A*, Index, double*) const = 0;
    virtual void tile_vjp(const ScoreTile&, const A*, Index, const double*,
                          const BiasGradients&) const = 0;
    virtual void finish_vjp(Index, Index, const BiasGradients&) const = 0;
    virtual const LiftSource* lift() const = 0;
    virtual std::shared_ptr<Interface> copy() const = 0;
    virtual void check_truncate() const = 0;
    virtual void truncate(Index) = 0;
  };

  void own() {
    if (!detail::is_sole_owner(source_)) source_ = source_->copy();
  }

  template <class Source>
  struct Erased final : Interface {
    static constexpr char kType = 0;
    explicit Erased(Source s) : source(std::move(s)) {}
    const void* type() const override { return &kType; }
    Index batch() const override { return source.batch(); }
    Index heads() const override { return source.heads(); }
    Index queries() const override { return source.queries(); }
    Index keys() const override { return source.keys(); }
    BiasGradientSizes gradient_sizes() const override {
      if constexpr (requires { source.gradient_sizes(); }) {
        return source.gradient_sizes();
      } else {
        return {};
      }
    }
    std::span<const BiasAction> parts() const override {
      if constexpr (requires { source.parts(); }) {
        return source.parts();
      } else {
        return {};
      }
    }
    bool uses_carry() const override {
      if constexpr (requires { Source::uses_carry; }) {
        return Source::uses_carry;
      } else {
        return requires(const ScoreTile& w, A* x, double* c) { source.add_tile(w, x, Index{}, c); };
      }
    }
    A upper_bound(const ScoreTile& where) const override {
      if constexpr (requires { source.upper_bound(where); }) {
        return source.upper_bound(where);
      } else {
        return std::numeric_limits<A>::infinity();
      }
    }
    void tile(const ScoreTile& where, A* out, Index row_stride) const override {
      source.tile(where, out, row_stride);
    }
    void add_tile(const ScoreTile& where, A* scores, Index row_stride,
                  double* carry) const override {
      if constexpr (requires { source.add_tile(where, scores, row_stride, carry); }) {
        source.add_tile(where, scores, row_stride, carry);
      } else {
        add_in_pieces(where, scores, row_stride);
      }
    }
    void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* before,
                  const BiasGradients& gradients) const override {
      if constexpr (requires { source.tile_vjp(where, d_tile, row_stride, before, gradients); }) {
        source.tile_vjp(where, d_tile, row_stride, before, gradients);
      } else {
        detail::fail("bias", "a source without tile_vjp", "a differentiable bias");
      }
    }
    void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const override {
      if constexpr (requires { source.finish_vjp(batch, head, gradients); }) {
        source.finish_vjp(batch, head, gradients);
      }
    }
    const LiftSource* lift() const override {
      if constexpr (std::derived_from<Source, LiftSource>) {
        return &source;
      } else {
        return nullptr;
      }
    }
    std::shared_ptr<Interface> copy() const override { return std::make_shared<Erased>(source); }
    void check_truncate() const override {
      if constexpr (!requires(Source & s) { s.truncate(Index{}); }) {
        detail::fail("bias", "a source without truncate", "a bias that streams");
      } else if constexpr (requires { source.check_truncate(); }) {
        source.check_truncate();
      }
    }
    void truncate(Index keys) override {
      if constexpr (requires(Source & s) { s.truncate(keys); }) source.truncate(keys);
    }
    /// add_tile by tile(): pieces that fit into the nearest cache.
    void add_in_pieces(const ScoreTile& where, A* scores, Index row_stride) const {
      constexpr Index kColumns = 512;
      A piece[kColumns];
      for (Index r = 0; r < where.queries; ++r) {
        for (Index c = 0; c < where.keys; c += kColumns) {
          const Index count = (std::min)(kColumns, where.keys - c);
          source.tile({where.batch, where.head, where.query + r, 1, where.key + c, count}, piece,
                      count);
          A* to = scores + r * row_stride + c;
          for (Index i = 0; i < count; ++i) to[i] += piece[i];
        }
      }
    }
    Source source;
  };

  std::shared_ptr<Interface> source_;
};

namespace detail {

/// Makes the action's source one of Source::assign(args..), in place where no copy shares it.
template <class Source, class A, class... Args>
void assign_source(BiasAction<A>& action, const Args&... args) {
  if (auto* source = action.template unshared<Source>()) return source->assign(args...);
  Source source;
  source.assign(args...);
  action = BiasAction<A>(std::move(source));
}

/// What append() goes on with: null where the action has no source yet. Throws ArgumentError where
/// it has another.
template <class Source, class A>
const Source* appended_source(const BiasAction<A>& action) {
  const auto* source = action.template source<Source>();
  if (source == nullptr && action.has_source()) {
    fail("action", "a bias that another encoder made", "one that this encoder made, or a new one");
  }
  return source;
}

template <class List>
void check_same_slopes(const List& got, std::span<const double> wanted) {
  bool same = got.size() == wanted.size();
  for (std::size_t p = 0; same && p < wanted.size(); ++p) same = got[p] == wanted[p];
  if (same) return;
  fail("slopes", text(got.size(), " slopes of the encoder"),
       text("the ", wanted.size(), " with which the action began: prepare it anew"));
}

inline void check_same_batch(std::string_view argument, Index got, Index wanted) {
  if (got == wanted) return;
  fail(text(argument, " batch"), text(got), text("the batch ", wanted, " of the action"));
}

}  // namespace detail

}  // namespace grape::inline v0
