// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/attention/detail/rotated_copy.hpp"
#include "grape/attention/detail/tile.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/detail/aligned.hpp"
#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

/// What a chunk holds for each head: keys [dim, kKeys], then values [kKeys, value_columns], as the
/// products read them.
struct CacheShape {
  Index heads, dim, value_dim, value_columns;

  Index values() const { return dim * kKeys; }
  Index head_size() const { return kKeys * (dim + value_columns); }
};

/// kKeys tokens of one batch entry. Slots without a token are zeros.
template <class T>
class CacheChunk {
 public:
  /// kKeys entries more than needed: a tile that starts in the middle reads whole registers.
  explicit CacheChunk(const CacheShape& shape)
      : memory_(static_cast<std::size_t>(shape.heads * shape.head_size() + kKeys), T(0)) {}

  const T* data() const { return memory_.data(); }
  T* data() { return memory_.data(); }

  /// Writes token t of batch entry b.
  template <class K>
  void write(const CacheShape& shape, Index h, Index slot, const TensorView<const K>& k,
             const TensorView<const T>& v, Index b, Index t) {
    T* keys = memory_.data() + h * shape.head_size();
    for (Index d = 0; d < shape.dim; ++d) {
      keys[d * kKeys + slot] = narrow<T>(widen(k(b, t, h, d)));
    }
    T* values = keys + shape.values() + slot * shape.value_columns;
    for (Index d = 0; d < shape.value_dim; ++d) values[d] = v(b, t, h, d);
  }
  /// Takes over a token of a chunk, which may be this one.
  void copy(const CacheShape& shape, Index slot, const CacheChunk& from, Index from_slot) {
    for (Index h = 0; h < shape.heads; ++h) {
      const T* source = from.data() + h * shape.head_size();
      T* keys = memory_.data() + h * shape.head_size();
      for (Index d = 0; d < shape.dim; ++d) keys[d * kKeys + slot] = source[d * kKeys + from_slot];
      std::copy_n(source + shape.values() + from_slot * shape.value_columns, shape.value_columns,
                  keys + shape.values() + slot * shape.value_columns);
    }
  }
  /// The keys of slots [slot, slot + keys.seq()), widened.
  template <class A>
  void read_keys(const CacheShape& shape, Index slot, const TensorView<A>& keys) const {
    for (Index h = 0; h < shape.heads; ++h) {
      const T* from = memory_.data() + h * shape.head_size() + slot;
      for (Index t = 0; t < keys.seq(); ++t) {
        for (Index d = 0; d < shape.dim; ++d) keys(0, t, h, d) = widen(from[d * kKeys + t]);
      }
    }
  }
  /// The key of token t alone.
  template <class A>
  void write_key(const CacheShape& shape, Index slot, const TensorView<A>& keys, Index t) {
    for (Index h = 0; h < shape.heads; ++h) {
      T* to = memory_.data() + h * shape.head_size() + slot;
      for (Index d = 0; d < shape.dim; ++d) to[d * kKeys] = narrow<T>(keys(0, t, h, d));
    }
  }
  void erase(const CacheShape& shape, Index slot) {
    for (Index h = 0; h < shape.heads; ++h) {
      T* keys = memory_.data() + h * shape.head_size();
      for (Index d = 0; d < shape.dim; ++d) keys[d * kKeys + slot] = T(0);
      std::fill_n(keys + shape.values() + slot * shape.value_columns, shape.value_columns, T(0));
    }
  }

 private:
  LineVector<T> memory_;
};

/// What makes two rotations those of one spectrum and, where there is one, one frame and one choice
/// of axes: keys turned by one of them can meet queries turned by the other.
template <class A>
struct FrequencySet {
  explicit FrequencySet(const RotationAction<A>& action)
      : pairing(action.pairing()),
        first_coordinate(action.first_coordinate()),
        sets(action.sets()),
        planes(action.planes()),
        frame_columns(action.frame_columns()) {
    for (Index set = 0; set < sets; ++set) {
      for (Index m = 0; m < planes; ++m) frequencies.push_back(action.frequency(set, m));
    }
    frequencies.push_back(action.attention_factor());
    if (!action.has_frame()) return;
    const Index entries = frame_columns * action.frame_dim();
    for (Index set = 0; set < action.frequency_sets(); ++set) {
      frame.insert(frame.end(), action.frame(set), action.frame(set) + entries);
    }
  }

  bool has_frame_of(const RotationAction<A>& action) const {
    if (action.frame_columns() != frame_columns) return false;
    const auto entries = static_cast<std::size_t>(frame_columns * action.frame_dim());
    const std::size_t frames =
        action.has_frame() ? static_cast<std::size_t>(action.frequency_sets()) : 0;
    if (frame.size() != frames * entries) return false;
    for (std::size_t set = 0; set < frames; ++set) {
      const A* other = action.frame(static_cast<Index>(set));
      if (!std::equal(other, other + entries, frame.data() + set * entries)) return false;
    }
    return true;
  }
  /// Keeps the axes of the first action that has several: one with one position a token tells none.
  void learn_axes(const RotationAction<A>& action) {
    if (!channels.empty() || action.channels() == 1) return;
    for (Index m = 0; m < planes; ++m) channels.push_back(action.channel(0, m));
  }
  /// Tokens with one position stand on all axes at it, and go with any choice.
  bool has_axes_of(const RotationAction<A>& action) const {
    if (channels.empty() || action.channels() == 1) return true;
    for (Index m = 0; m < planes; ++m) {
      if (action.channel(0, m) != channels[static_cast<std::size_t>(m)]) return false;
    }
    return true;
  }
  bool has_frequencies_of(const RotationAction<A>& action) const {
    if (action.pairing() != pairing || action.first_coordinate() != first_coordinate ||
        action.sets() != sets || action.planes() != planes ||
        action.attention_factor() != frequencies.back()) {
      return false;
    }
    const double* known = frequencies.data();
    for (Index set = 0; set < sets; ++set) {
      for (Index m = 0; m < planes; ++m) {
        if (action.frequency(set, m) != *known++) return false;
      }
    }
    return true;
  }

  Pairing pairing;
  Index first_coordinate, sets, planes, frame_columns;
  std::vector<double> frequencies;  // and the attention factor
  std::vector<Index> channels;      // which position turns a plane, where tokens have several
  std::vector<A> frame;             // [frequency sets, columns, dim], empty without one
};

/// Refuses a rotation by another spectrum than that of the keys held; keys that came without a
/// rotation (`held` of them, and none known) go with any queries, but not with rotated keys.
template <class A>
void check_frequencies(const std::optional<FrequencySet<A>>& known, Index held,
                       const RotationAction<A>* action, std::string_view argument) {
  if (held == 0) return;
  if (action == nullptr) {
    if (known) fail(argument, "none", "the rotation by which the cached keys were turned");
    return;
  }
  if (!known) fail(argument, "a rotation", "none: the cached keys came without one");
  if (!known->has_frame_of(*action)) {
    fail(argument, "a frame that differs from that of the cached keys",
         "the same: clear() the cache first, or keep keys raw (CachedKeys::raw)");
  }
  if (!known->has_frequencies_of(*action)) {
    fail(argument, "frequencies or a pairing that differ from those of the cached keys",
         "the same: clear() the cache first, or keep keys raw (CachedKeys::raw)");
  }
  if (!known->has_axes_of(*action)) {
    fail(argument, "planes that turn by other axes than those of the cached keys",
         "the same: clear() the cache first, or keep keys raw (CachedKeys::raw)");
  }
}

/// The raw keys of a cache, turned for one call.
template <class A, class Cache>
class TurnedKeys {
 public:
  template <class E>
  TurnedKeys(const Cache& cache, const RotationAction<A>& action, AttendWorkspace<A>& workspace,
             const E& executor)
      : cache_(cache),
        keys_(blhd(workspace.get(AttendWorkspace<A>::keys,
                                 cache.batch() * cache.size() * cache.key_heads() * cache.dim()),
                   cache.batch(), cache.size(), cache.key_heads(), cache.dim())) {
    for_token_runs(keys_, executor, [&](Index b, Index t) {
      for (Index h = 0; h < cache.key_heads(); ++h) {
        A* key = &keys_(b, t, h, 0);
        if (t < cache.size(b)) {
          cache.read_key(b, t, h, key);
        } else {
          std::fill_n(key, cache.dim(), A(0));
        }
      }
    });
    apply_rotation(action, keys_, executor);
  }

  Index front(Index b) const { return cache_.front(b); }
  double longest(Index, Index, Index) const { return std::numeric_limits<double>::infinity(); }
  Index scratch() const { return cache_.scratch() + kKeys * cache_.dim() + cache_.dim(); }
  KeyTile<A> load(Index b, Index h, Index key, Index count, A* scratch) const {
    const KeyTile<A> raw = cache_.load(b, h, key, count, scratch);
    A* turned = scratch + cache_.scratch();
    const Index present = (std::min)(count, cache_.size(b) - key);
    pack_transposed(TensorView<const A>(keys_), b, h, key, present, turned,
                    turned + kKeys * cache_.dim());
    return {turned, raw.values};
  }

 private:
  const Cache& cache_;
  TensorView<A> keys_;
};

}  // namespace detail
}  // namespace grape::inline v0
