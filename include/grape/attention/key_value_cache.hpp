// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "grape/apply/rerotate.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/attention/detail/cache_chunk.hpp"
#include "grape/attention/detail/cache_entry.hpp"
#include "grape/attention/detail/check.hpp"
#include "grape/attention/detail/rotated_copy.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {

/// How a cache holds its keys: rotated once, when they arrive (section 2.5 of the paper), or raw,
/// to be rotated by whatever spectrum a call of attend() brings.
enum class CachedKeys { rotated, raw };

/// Keys and values of the tokens so far, for decoding: append what is new, attend to all.
///
///   KeyValueCache<float> cache(batch, key_heads, dim, value_dim);
///   cache.append(k, v, &rotation);               // [batch, new tokens, key_heads, ..]
///   attend(q, cache, out, {.rotation = &rotation, .bias = &bias});
///
/// Tokens live in chunks that are never moved, so that growth copies nothing. A copy of the cache
/// shares its chunks and costs a pointer each (a fork, for speculative decoding); whoever writes to
/// a shared chunk first takes a copy of that one. Batch entries may hold different numbers of
/// tokens. A cache of rotated keys knows their frequencies and their frame: a rotation by others is
/// an error.
///
/// Reading from several threads is safe while none writes.
template <Element T, CachedKeys kind = CachedKeys::rotated>
class KeyValueCache {
 public:
  using Scalar = accumulation_t<T>;

  /// Throws ArgumentError unless batch, key_heads and dim are >= 1 and value_dim >= 0.
  KeyValueCache(Index batch, Index key_heads, Index dim, Index value_dim)
      : shape_{key_heads, dim, value_dim, detail::round_to_lanes<Scalar>(value_dim)} {
    if (batch < 1) detail::fail("batch", detail::text(batch), "a value >= 1");
    if (key_heads < 1) detail::fail("key_heads", detail::text(key_heads), "a value >= 1");
    if (dim < 1) detail::fail("dim", detail::text(dim), "a value >= 1");
    if (value_dim < 0) detail::fail("value_dim", detail::text(value_dim), "a value >= 0");
    entries_.resize(static_cast<std::size_t>(batch));
  }

  Index batch() const { return static_cast<Index>(entries_.size()); }
  Index key_heads() const { return shape_.heads; }
  Index dim() const { return shape_.dim; }
  Index value_dim() const { return shape_.value_dim; }
  /// Tokens that a batch entry holds, and the most that any does.
  Index size(Index b) const { return entry(b).size(); }
  Index size() const {
    Index most = 0;
    for (const auto& e : entries_) most = (std::max)(most, e.size());
    return most;
  }
  /// Tokens that have left a batch entry at the front: the first one held was the evicted(b)-th.
  Index evicted(Index b) const { return entry(b).evicted(); }
  /// Whether a batch entry still holds all tokens appended since it was empty, but for those that
  /// truncate() took.
  bool whole(Index b) const { return entry(b).whole(); }

  /// Appends the tokens of k and v [batch, count, key_heads, ..] to every batch entry; with a
  /// rotation, which a cache of rotated keys alone takes, k is rotated on the way (once, in the
  /// accumulation scalar). Throws ArgumentError, and changes nothing, for shapes that do not fit,
  /// and for a rotation by other frequencies than those of the keys held.
  void append(TensorView<const T> k, TensorView<const T> v,
              const RotationAction<Scalar>* rotation = nullptr) {
    detail::check_equal("k batch", k.batch(), batch(), "batch entries of the cache");
    append_to(0, k, v, rotation);
  }
  /// The same for one batch entry: k and v [1, count, key_heads, ..].
  void append(Index b, TensorView<const T> k, TensorView<const T> v,
              const RotationAction<Scalar>* rotation = nullptr) {
    entry(b);
    detail::check_equal("k batch", k.batch(), 1, "batch entry");
    append_to(b, k, v, rotation);
  }

  /// Forgets the tokens of a batch entry, or of all, from `size` on (a refused draft). Throws
  /// ArgumentError if there are not as many.
  void truncate(Index b, Index size) {
    check_size(b, size);
    at(b).truncate(shape_, size);
  }
  void truncate(Index size) {
    for (Index b = 0; b < batch(); ++b) check_size(b, size);
    for (Index b = 0; b < batch(); ++b) truncate(b, size);
  }

  /// Keeps the last `window` tokens of each batch entry and drops those before: a sliding window.
  /// Chunks that are left empty are given back. Throws ArgumentError if window < 0.
  void keep_last(Index window) {
    if (window < 0) detail::fail("window", detail::text(window), "a value >= 0");
    for (auto& e : entries_) {
      if (e.size() > window) e.erase(shape_, 0, e.size() - window);
    }
  }

  /// Forgets tokens [begin, end) of a batch entry, or of all, and closes the gap: those behind are
  /// copied up, where the gap does not begin at 0 (tokens at the front that always stay, attention
  /// sinks, say). Keys keep the positions at which they were rotated; shift() moves those. Throws
  /// ArgumentError, and changes nothing, for tokens that are not there.
  void erase(Index b, Index begin, Index end) {
    check_tokens(b, begin, end);
    at(b).erase(shape_, begin, end);
  }
  /// The same in every batch entry.
  void erase(Index begin, Index end) {
    for (Index b = 0; b < batch(); ++b) check_tokens(b, begin, end);
    for (Index b = 0; b < batch(); ++b) at(b).erase(shape_, begin, end);
  }

  /// Moves tokens of a batch entry, or of all, by a number of positions: a context shift. The move
  /// waits and adds up with others, exactly; apply_shifts() turns the keys once, by the sum, and
  /// attend() refuses a cache whose keys wait. Tokens that are appended meanwhile stand where they
  /// were rotated to.
  ///
  ///   cache.erase(4, 4 + half);                     // the oldest, but for 4 sinks
  ///   cache.shift(rope, {4, cache.size(), -half});  // close the gap in positions, too
  ///   cache.apply_shifts(rope);
  ///
  /// The encoder must be Shiftable, or this does not compile: a contextual phase depends on the
  /// tokens between, a bias has no part in keys. A cache of raw keys has nothing to move, whatever
  /// the encoder: its keys get their positions when attend() rotates them.
  ///
  /// Throws ArgumentError, and changes nothing, for tokens or an axis out of range, for keys that
  /// came without a rotation or by other frequencies than the encoder's, for rounded angles
  /// (AngleProfile), and where a sum does not fit into 64 bits.
  template <class Enc>
  void shift(Index b, const Enc& encoder, const KeyShift& by) {
    check_tokens(b, by.begin, by.end);
    if constexpr (moves_keys<Enc>()) {
      const Index axes = check_encoder(encoder);
      at(b).check_shift(by, axes);
      at(b).shift(by, axes);
    }
  }
  /// The same in every batch entry.
  template <class Enc>
  void shift(const Enc& encoder, const KeyShift& by) {
    for (Index b = 0; b < batch(); ++b) check_tokens(b, by.begin, by.end);
    if constexpr (moves_keys<Enc>()) {
      const Index axes = check_encoder(encoder);
      for (const Entry& e : entries_) e.check_shift(by, axes);
      for (Entry& e : entries_) e.shift(by, axes);
    }
  }
  /// Turns the keys by what shift() has added up, and each rounds once; nothing is done where none
  /// waits. Throws ArgumentError, and changes nothing, like shift().
  template <class Enc, Executor E = Serial>
  void apply_shifts(const Enc& encoder, const E& executor = {}) {
    if constexpr (moves_keys<Enc>()) {
      const Index axes = check_encoder(encoder);
      for (const Entry& e : entries_) e.check_axes(axes);
      const auto unscaled = detail::unscaled(encoder);
      for (Entry& e : entries_) e.apply_shift(shape_, unscaled, executor);
    }
  }
  /// Whether keys wait to be moved.
  bool shift_pending() const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [](const Entry& e) { return e.shift_pending(); });
  }

  /// Forgets everything, the frequencies too.
  void clear() {
    for (auto& e : entries_) e = {};
    frequencies_.reset();
  }

  // What attend() reads.

  const std::optional<detail::FrequencySet<Scalar>>& frequencies() const { return frequencies_; }
  /// Slots before the first token in its chunk.
  Index front(Index b) const { return entry(b).front(); }
  /// A bound of the lengths of keys, which a cache does not keep.
  double longest(Index, Index, Index) const { return std::numeric_limits<double>::infinity(); }
  /// Numbers that load() needs to widen a tile into.
  Index scratch() const { return std::same_as<T, Scalar> ? 0 : shape_.head_size(); }
  /// Keys [key, key + count) of one head, which lie in one chunk.
  detail::KeyTile<Scalar> load(Index b, Index h, Index key, Index /*count*/,
                               Scalar* scratch) const {
    if constexpr (std::same_as<T, Scalar>) {
      return in_place(b, h, key);
    } else {
      const Index column = (front(b) + key) % detail::kKeys;
      detail::load(in_place(b, h, key).keys - column, 1, shape_.head_size(), scratch);
      return {scratch + column, scratch + shape_.values() + column * shape_.value_columns};
    }
  }
  /// The same as they lie in memory.
  detail::KeyTile<T> in_place(Index b, Index h, Index key) const {
    const auto& e = entries_[static_cast<std::size_t>(b)];
    const Index slot = e.front() + key, column = slot % detail::kKeys;
    const T* keys = e.data(slot) + h * shape_.head_size();
    return {keys + column, keys + shape_.values() + column * shape_.value_columns};
  }
  /// One key or value [dim] of a token, widened.
  void read_key(Index b, Index token, Index h, Scalar* out) const {
    const auto& e = entries_[static_cast<std::size_t>(b)];
    const Index slot = e.front() + token;
    const T* keys = e.data(slot) + h * shape_.head_size() + slot % detail::kKeys;
    for (Index d = 0; d < shape_.dim; ++d) out[d] = detail::widen(keys[d * detail::kKeys]);
  }

 private:
  using Entry = detail::CacheEntry<T>;

  const Entry& entry(Index b) const {
    detail::check_index("batch entry", b, batch());
    return entries_[static_cast<std::size_t>(b)];
  }
  Entry& at(Index b) { return entries_[static_cast<std::size_t>(b)]; }

  void check_size(Index b, Index size) const {
    if (size >= 0 && size <= entry(b).size()) return;
    detail::fail("size", detail::text(size), detail::text("a value in [0, ", entry(b).size(), "]"));
  }
  void check_tokens(Index b, Index begin, Index end) const {
    if (begin >= 0 && begin <= end && end <= entry(b).size()) return;
    detail::fail(
        "tokens", detail::text("[", begin, ", ", end, ")"),
        detail::text("a range within the ", entry(b).size(), " tokens of batch entry ", b));
  }

  /// Whether there are keys for Enc to move; where it cannot, this does not compile.
  template <class Enc>
  static consteval bool moves_keys() {
    if constexpr (kind == CachedKeys::rotated) return detail::moves_keys<Enc>();
    return false;
  }

  /// Refuses an encoder that did not turn the keys; returns its axes.
  template <class Enc>
  Index check_encoder(const Enc& encoder) const {
    detail::check_shift(encoder);
    const Index axes = detail::shift_axes(encoder);
    if (size() == 0) return axes;
    if (!frequencies_) {
      detail::fail("encoder", "a rotation", "none: the cached keys came without one");
    }
    const std::vector<std::int64_t> origin(static_cast<std::size_t>(axes), 0);
    const RotationAction<Scalar> action = encoder.at(Positions::axes(origin, axes, 1, 1));
    detail::check_frequencies(frequencies_, size(), &action, "encoder");
    return axes;
  }

  void append_to(Index first, const TensorView<const T>& k, const TensorView<const T>& v,
                 const RotationAction<Scalar>* rotation) {
    detail::check_equal("v batch", v.batch(), k.batch(), "batch entries of k");
    detail::check_equal("v seq", v.seq(), k.seq(), "tokens of k");
    detail::check_equal("k heads", k.heads(), shape_.heads, "key heads of the cache");
    detail::check_equal("v heads", v.heads(), shape_.heads, "key heads of the cache");
    detail::check_equal("k dim", k.dim(), shape_.dim, "coordinates of the cache's keys");
    detail::check_equal("v dim", v.dim(), shape_.value_dim, "coordinates of the cache's values");
    if (rotation != nullptr) {
      if constexpr (kind == CachedKeys::raw) {
        detail::fail("rotation", "a rotation", "none: this cache holds raw keys");
      }
      detail::check_rotation(*rotation, k, "k");
    }
    if constexpr (kind == CachedKeys::rotated) {
      if (size() == 0) frequencies_.reset();
      detail::check_frequencies(frequencies_, size(), rotation, "rotation");
      if (rotation != nullptr && k.seq() != 0) {
        if (!frequencies_) frequencies_ = detail::FrequencySet<Scalar>(*rotation);
        frequencies_->learn_axes(*rotation);
      }
    }
    AttendWorkspace<Scalar> space;
    detail::with_rotated(rotation, k, space, space.keys, Serial{}, [&](const auto& keys) {
      for (Index b = 0; b < k.batch(); ++b) at(first + b).append(shape_, keys, v, b);
    });
  }

  detail::CacheShape shape_;
  std::vector<Entry> entries_;
  std::optional<detail::FrequencySet<Scalar>> frequencies_;
};

}  // namespace grape::inline v0
