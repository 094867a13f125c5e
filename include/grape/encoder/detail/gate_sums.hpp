// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/detail/widened.hpp"
#include "grape/math/prefix_sum.hpp"

namespace grape::inline v0 {
namespace detail {

/// The inclusive prefix sums U of log forget gates, [batch, sets] rows of one number a token that
/// may grow at the end. Sums are kept in two doubles (CompensatedSum). A gate that is shut, a log
/// gate of -infinity or below -2^60, counts as 0 in the sums and is noted beside them.
///
/// Everything about a token is a function of the gates up to it, so that appending tokens gives the
/// bits that summing all at once gives, and truncating those from before.
class GateSums {
 public:
  /// Throws ArgumentError unless the gates are [batch, seq, sets, 1] and each is the logarithm of a
  /// number in [0, 1]. Tells whether any is shut.
  template <Element T>
  static bool check(Index sets, const TensorView<T>& log_forget) {
    if (log_forget.dim() != 1) {
      fail("log_forget dim", text(log_forget.dim()), "1, one log gate a token and head");
    }
    if (log_forget.heads() != sets) {
      fail("log_forget heads", text(log_forget.heads()),
           text("the ", sets, " heads of the generator"));
    }
    bool any_shut = false;
    for (Index b = 0; b < log_forget.batch(); ++b) {
      for (Index t = 0; t < log_forget.seq(); ++t) {
        for (Index h = 0; h < sets; ++h) {
          const double x = value(log_forget(b, t, h, 0));
          if (is_finite(x) ? x > 0 : !is_minus_infinity(x)) {
            fail(text("log_forget(", b, ", ", t, ", ", h, ")"), text(x),
                 "the logarithm of a gate in [0, 1], a value <= 0");
          }
          any_shut = any_shut || is_shut(x);
        }
      }
    }
    return any_shut;
  }

  /// Sums of checked gates. Changes nothing where memory runs out.
  template <Element T>
  void assign(const TensorView<T>& log_forget, bool any_shut) {
    const std::size_t size = static_cast<std::size_t>(log_forget.batch() * log_forget.heads()) *
                             static_cast<std::size_t>(log_forget.seq());
    high_.reserve(size);
    low_.reserve(size);
    weakest_.reserve(size);
    shut_.reserve(any_shut ? size : 0);
    batch_ = log_forget.batch();
    sets_ = log_forget.heads();
    capacity_ = log_forget.seq();
    keys_ = 0;
    high_.resize(size);
    low_.resize(size);
    weakest_.resize(size);
    shut_.resize(any_shut ? size : 0);
    extend(log_forget);
  }

  /// Goes on with the gates of further tokens, of the same batch, at a cost that does not depend on
  /// the tokens before (taken over many calls).
  template <Element T>
  void append(const TensorView<T>& log_forget, bool any_shut) {
    const Index capacity = grown_stride(capacity_, keys_, keys_ + log_forget.seq());
    if (capacity != capacity_) {
      const auto wider = [&](const auto& values) {
        return widened(values, batch_ * sets_, keys_, capacity_, capacity);
      };
      auto high = wider(high_), low = wider(low_);
      auto weakest = wider(weakest_);
      auto shut = shut_.empty() ? std::vector<Index>{} : wider(shut_);
      high_ = std::move(high);
      low_ = std::move(low);
      weakest_ = std::move(weakest);
      shut_ = std::move(shut);
      capacity_ = capacity;
    }
    if (any_shut && shut_.empty()) shut_.assign(high_.size(), 0);
    extend(log_forget);
  }

  /// Keeps the first `keys` tokens.
  void truncate(Index keys) { keys_ = keys; }

  Index batch() const { return batch_; }
  Index sets() const { return sets_; }
  Index keys() const { return keys_; }
  const double* high(Index b, Index h) const { return high_.data() + row(b, h); }
  const double* low(Index b, Index h) const { return low_.data() + row(b, h); }
  CompensatedSum at(Index b, Index h, Index token) const {
    return {high(b, h)[token], low(b, h)[token]};
  }

  /// Whether differences need the low parts: those of the high parts are off by 2^-52 |U|, which
  /// must be small beside the weakest gate.
  template <class A>
  bool needs_low(Index b, Index h) const {
    constexpr double kEnough = std::is_same_v<A, float> ? 0x1p-24 : 0x1p10;
    if (keys_ == 0) return false;
    const auto last = static_cast<std::size_t>(row(b, h) + keys_ - 1);
    const auto weakest = static_cast<double>(weakest_[last]);
    return weakest < -high(b, h)[keys_ - 1] * kEnough;
  }

  /// The first token that a token sees: that of the last shut gate up to it.
  Index first_seen(Index b, Index h, Index token) const {
    return shut_.empty() ? 0 : shut_[static_cast<std::size_t>(row(b, h) + token)];
  }

 private:
  static constexpr double kShut = -0x1p60;

  template <class T>
  static double value(const T& x) {
    return static_cast<double>(static_cast<accumulation_t<T>>(x));
  }
  static bool is_minus_infinity(double x) {  // from the bits: holds under -ffast-math
    return std::bit_cast<std::uint64_t>(x) == 0xfff0000000000000u;
  }
  static bool is_shut(double x) { return is_minus_infinity(x) || x < kShut; }

  Index row(Index b, Index h) const { return (b * sets_ + h) * capacity_; }

  template <Element T>
  void extend(const TensorView<T>& log_forget) {
    const Index count = log_forget.seq();
    if (count == 0) return;
    for (Index b = 0; b < batch_; ++b) {
      for (Index h = 0; h < sets_; ++h) {
        const Index begin = row(b, h) + keys_;
        const bool first = keys_ == 0;
        float* weakest = weakest_.data() + begin;
        Index* shut = shut_.empty() ? nullptr : shut_.data() + begin;
        float least = first ? (std::numeric_limits<float>::max)() : weakest[-1];
        Index last_shut = first || shut == nullptr ? 0 : shut[-1];
        prefix_sums(
            count,
            [&](Index t) {
              double x = value(log_forget(b, t, h, 0));
              if (is_shut(x)) {
                last_shut = keys_ + t;
                x = 0;
              }
              if (x < 0) least = (std::min)(least, static_cast<float>(-x));
              weakest[t] = least;
              if (shut != nullptr) shut[t] = last_shut;
              return x;
            },
            high_.data() + begin, low_.data() + begin,
            first ? CompensatedSum{} : at(b, h, keys_ - 1));
      }
    }
    keys_ += count;
  }

  Index batch_ = 1;
  Index sets_ = 0;
  Index keys_ = 0;
  Index capacity_ = 0;             // the row stride
  LineVector<double> high_, low_;  // [batch, sets, capacity]
  std::vector<float> weakest_;     // the same: the least |log gate| so far that is not 0
  std::vector<Index> shut_;        // the same, or empty: the last shut gate so far
};

}  // namespace detail
}  // namespace grape::inline v0
