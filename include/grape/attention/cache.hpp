// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/rotation.hpp"
#include "grape/attention/attend.hpp"
#include "grape/attention/detail/cache_chunk.hpp"
#include "grape/attention/options.hpp"
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
/// tokens. A cache of rotated keys knows their frequencies: a rotation by others is an error.
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
  Index size(Index b) const { return entry(b).size; }
  Index size() const {
    Index most = 0;
    for (const auto& e : entries_) most = (std::max)(most, e.size);
    return most;
  }
  /// Tokens that have left a batch entry at the front: the first one held was the evicted(b)-th.
  Index evicted(Index b) const { return entry(b).evicted; }

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
    if (size < 0 || size > entry(b).size) {
      detail::fail("size", detail::text(size), detail::text("a value in [0, ", entry(b).size, "]"));
    }
    shorten(at(b), size);
  }
  void truncate(Index size) {
    for (Index b = 0; b < batch(); ++b) {
      if (size < 0 || size > entry(b).size) truncate(b, size);
    }
    for (Index b = 0; b < batch(); ++b) truncate(b, size);
  }

  /// Keeps the last `window` tokens of each batch entry and drops those before: a sliding window.
  /// Chunks that are left empty are given back. Throws ArgumentError if window < 0.
  void keep_last(Index window) {
    if (window < 0) detail::fail("window", detail::text(window), "a value >= 0");
    for (auto& e : entries_) {
      if (e.size > window) drop_front(e, e.size - window);
    }
  }

  /// Forgets everything, the frequencies too.
  void clear() {
    for (auto& e : entries_) e = {};
    frequencies_.reset();
  }

  // What attend() reads.

  const std::optional<detail::FrequencySet>& frequencies() const { return frequencies_; }
  /// Slots before the first token in its chunk.
  Index front(Index b) const { return entry(b).front; }
  double longest(Index, Index, Index) const { return std::numeric_limits<double>::infinity(); }
  Index scratch() const { return std::same_as<T, Scalar> ? 0 : shape_.head_size(); }
  /// Keys [key, key + count) of one head, which lie in one chunk.
  detail::KeyTile<Scalar> load(Index b, Index h, Index key, Index /*count*/,
                               Scalar* scratch) const {
    const auto& e = entries_[static_cast<std::size_t>(b)];
    const Index slot = e.front + key;
    const T* keys =
        e.chunks[static_cast<std::size_t>(slot / detail::kKeys)]->data() + h * shape_.head_size();
    const Index column = slot % detail::kKeys;
    if constexpr (std::same_as<T, Scalar>) {
      return {keys + column, keys + shape_.values() + column * shape_.value_columns};
    } else {
      detail::load(keys, 1, shape_.head_size(), scratch);
      return {scratch + column, scratch + shape_.values() + column * shape_.value_columns};
    }
  }
  /// One key or value [dim] of a token, widened.
  void read_key(Index b, Index token, Index h, Scalar* out) const {
    const auto& e = entries_[static_cast<std::size_t>(b)];
    const Index slot = e.front + token;
    const T* keys = e.chunks[static_cast<std::size_t>(slot / detail::kKeys)]->data() +
                    h * shape_.head_size() + slot % detail::kKeys;
    for (Index d = 0; d < shape_.dim; ++d) out[d] = detail::widen(keys[d * detail::kKeys]);
  }

 private:
  using Chunk = detail::CacheChunk<T>;
  struct Entry {
    std::vector<std::shared_ptr<Chunk>> chunks;
    Index front = 0;  // slots of the first chunk that are given up
    Index size = 0;
    Index evicted = 0;
  };

  const Entry& entry(Index b) const {
    detail::check_index("batch entry", b, batch());
    return entries_[static_cast<std::size_t>(b)];
  }
  Entry& at(Index b) { return entries_[static_cast<std::size_t>(b)]; }

  /// A chunk to write to: a copy where another cache shares it.
  Chunk& own(std::shared_ptr<Chunk>& chunk) {
    if (chunk.use_count() != 1) chunk = std::make_shared<Chunk>(*chunk);
    return *chunk;
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
      if (rotation != nullptr && k.seq() != 0) frequencies_ = detail::FrequencySet(*rotation);
    }
    detail::with_rotated(rotation, k, Serial{}, [&](const auto& keys) {
      for (Index b = 0; b < k.batch(); ++b) write(at(first + b), keys, v, b);
    });
  }

  template <class K>
  void write(Entry& e, const TensorView<const K>& k, const TensorView<const T>& v, Index b) {
    const Index begin = e.front + e.size, end = begin + k.seq();
    const Index chunks = (end + detail::kKeys - 1) / detail::kKeys;
    while (static_cast<Index>(e.chunks.size()) < chunks) {
      e.chunks.push_back(std::make_shared<Chunk>(shape_));
    }
    for (Index slot = begin; slot < end; ++slot) {
      Chunk& chunk = own(e.chunks[static_cast<std::size_t>(slot / detail::kKeys)]);
      for (Index h = 0; h < shape_.heads; ++h) {
        chunk.write(shape_, h, slot % detail::kKeys, k, v, b, slot - begin);
      }
    }
    e.size += k.seq();
  }

  void shorten(Entry& e, Index size) {
    const Index begin = e.front + size, end = e.front + e.size;
    const Index kept = (begin + detail::kKeys - 1) / detail::kKeys;
    e.chunks.resize(static_cast<std::size_t>(kept));
    for (Index slot = begin; slot < (std::min)(end, kept * detail::kKeys); ++slot) {
      own(e.chunks.back()).erase(shape_, slot % detail::kKeys);
    }
    e.size = size;
  }

  void drop_front(Entry& e, Index count) {
    e.front += count;
    e.size -= count;
    e.evicted += count;
    const Index gone = e.front / detail::kKeys;
    e.chunks.erase(e.chunks.begin(), e.chunks.begin() + gone);
    e.front %= detail::kKeys;
  }

  detail::CacheShape shape_;
  std::vector<Entry> entries_;
  std::optional<detail::FrequencySet> frequencies_;
};

/// Attention of new queries [batch, q_len, heads, dim] to all that the cache holds, the queries'
/// own tokens, which were appended before, among it: query i of batch entry b stands at the token
/// size(b) - q_len + i, and sees none after it (causal, whatever the options say). A window and a
/// bias work as in attend(); the bias has cache.size() keys. options.rotation turns the queries;
/// keys are as they were appended, or, if raw, turned by options.key_rotation, which has
/// cache.size() tokens.
///
/// Throws ArgumentError, before anything is written, like attend(), if key_lengths or query_offsets
/// are given, which the cache knows, and for a rotation by other frequencies than the keys'.
template <Element Q, Element T, CachedKeys kind, Executor E = Serial>
void attend(TensorView<Q> q, const KeyValueCache<T, kind>& cache, TensorView<T> out,
            const std::type_identity_t<AttendOptions<accumulation_t<T>>>& options = {},
            const E& executor = {}) {
  static_assert(std::same_as<std::remove_const_t<Q>, T>,
                "grape: q, the cache and out must have one element type");
  using A = accumulation_t<T>;
  const TensorView<const T> queries(q);
  detail::check_equal("q batch", q.batch(), cache.batch(), "batch entries of the cache");
  detail::check_equal("q dim", q.dim(), cache.dim(), "coordinates of the cache's keys");
  if (q.heads() % cache.key_heads() != 0) {
    detail::fail("q heads", detail::text(q.heads()),
                 detail::text("a multiple of the ", cache.key_heads(), " key heads"));
  }
  detail::check_output_shape(out, queries, cache.value_dim(), "out");
  if (!options.key_lengths.empty()) {
    detail::fail("key_lengths", "lengths", "none: the cache knows them");
  }
  if (!options.query_offsets.empty()) {
    detail::fail("query_offsets", "offsets", "none: queries are the cache's last tokens");
  }
  std::vector<Index> lengths, offsets;
  for (Index b = 0; b < cache.batch(); ++b) {
    lengths.push_back(cache.size(b));
    offsets.push_back(cache.size(b) - q.seq());
  }
  AttendOptions<A> own = options;
  own.causal = true;
  own.key_lengths = lengths;
  own.query_offsets = offsets;
  const auto plan =
      detail::plan_attention(queries, cache.size(), cache.key_heads(), cache.value_dim(), own);
  if (options.rotation != nullptr) detail::check_rotation(*options.rotation, queries, "q");
  if constexpr (kind == CachedKeys::rotated) {
    if (options.key_rotation != nullptr) {
      detail::fail("key_rotation", "a rotation", "none: the cache's keys are rotated already");
    }
    detail::check_frequencies(cache.frequencies(), cache.size(), options.rotation, "rotation");
  } else if (options.key_rotation != nullptr) {
    detail::check_equal("key_rotation seq", options.key_rotation->seq(), cache.size(),
                        "tokens of the cache");
  }
  if (detail::share_elements(q, out)) {
    detail::fail("out", "a view that shares elements with q", "memory of its own");
  }
  if (q.seq() == 0 || q.heads() == 0) return;
  detail::with_rotated(options.rotation, queries, executor, [&](const auto& turned) {
    if constexpr (kind == CachedKeys::raw) {
      if (options.key_rotation != nullptr) {
        const detail::TurnedKeys<A, KeyValueCache<T, kind>> keys(cache, *options.key_rotation,
                                                                 executor);
        detail::attend_forward(turned, keys, out, plan, executor);
        return;
      }
    }
    detail::attend_forward(turned, cache, out, plan, executor);
  });
}

}  // namespace grape::inline v0
