// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance {

/// What a bias kernel is asked to do: to add, for queries i and keys j <= i + first_query, to
/// scores [1, heads, queries, keys] (entries above that diagonal are not looked at)
///
///   ALiBi  (j - (i + first_query)) slopes[h]
///   FoX    the sum of log_forget[l, h] over l = j + 1 .. i + first_query
///
/// Query i is the token of key i + first_query, and key j stands at position first_position + j.
struct BiasCase {
  Index first_query = 0;
  std::int64_t first_position = 0;
  std::span<const double> slopes{};     ///< [heads], positive; empty for FoX
  std::span<const float> log_forget{};  ///< [keys, heads], at most 0; empty for ALiBi
};

/// Which bias the kernel computes.
enum class BiasFamily { alibi, fox };

/// What the kernel claims, and how exact it must be.
struct BiasOptions {
  BiasFamily family = BiasFamily::alibi;
  /// Whether the kernel takes fewer queries than keys (decoding).
  bool decode = true;
  /// What is allowed, in roundings of T (half an epsilon) times the greatest bias.
  double roundings = 8;
  /// The same for FoX's sums of 4096 gates, times the bias itself: prefix sums in T fail this.
  double long_roundings = 8;
};

namespace detail {

struct BiasShape {
  Index heads, queries, keys;
};

/// The plain statement of a bias, in double. Another sign or another first or last summand than the
/// right one tells wrong kernels apart.
inline std::vector<double> bias_of(const BiasCase& c, const BiasShape& shape, Index skip_first = 1,
                                   Index skip_last = 0) {
  std::vector<double> out(static_cast<std::size_t>(shape.heads * shape.queries * shape.keys));
  for (Index h = 0; h < shape.heads; ++h) {
    for (Index i = 0; i < shape.queries; ++i) {
      const Index at = i + c.first_query;
      for (Index j = 0; j <= (std::min)(at, shape.keys - 1); ++j) {
        double& b = out[static_cast<std::size_t>((h * shape.queries + i) * shape.keys + j)];
        if (!c.slopes.empty()) {
          b = static_cast<double>(j - at) * c.slopes[static_cast<std::size_t>(h)];
          continue;
        }
        for (Index l = (std::max<Index>)(0, j + skip_first); l <= at - skip_last; ++l) {
          b += static_cast<double>(c.log_forget[static_cast<std::size_t>(l * shape.heads + h)]);
        }
      }
    }
  }
  return out;
}

template <Element T, class Kernel>
class BiasChecks {
 public:
  BiasChecks(Kernel& kernel, const BiasOptions& options) : kernel_(kernel), options_(options) {}

  Report run() {
    golden();
    formula();
    laws();
    if (options_.family == BiasFamily::fox) long_sums();
    return std::move(report_);
  }

 private:
  using Scores = std::vector<T>;

  bool alibi() const { return options_.family == BiasFamily::alibi; }
  BiasCase one(Index first_query = 0, std::int64_t first_position = 0) const {
    if (alibi()) return {first_query, first_position, slopes_, {}};
    return {first_query, first_position, {}, log_forget_};
  }
  Scores biased(const BiasCase& c, const BiasShape& shape, double start = 0) {
    Scores out(static_cast<std::size_t>(shape.heads * shape.queries * shape.keys),
               static_cast<T>(static_cast<float>(start)));
    kernel_(c, bhqk(out.data(), 1, shape.heads, shape.queries, shape.keys));
    return out;
  }
  static double at(const Scores& b, const BiasShape& shape, Index h, Index i, Index j) {
    return static_cast<double>(
        b[static_cast<std::size_t>((h * shape.queries + i) * shape.keys + j)]);
  }
  /// The worst error at or below the diagonal; `sign` multiplies what is wanted.
  static double worst(const Scores& got, const std::vector<double>& wanted, const BiasCase& c,
                      const BiasShape& shape, double start = 0, double sign = 1) {
    double error = 0;
    for (Index h = 0; h < shape.heads; ++h) {
      for (Index i = 0; i < shape.queries; ++i) {
        for (Index j = 0; j <= (std::min)(i + c.first_query, shape.keys - 1); ++j) {
          const auto k = static_cast<std::size_t>((h * shape.queries + i) * shape.keys + j);
          error = worse(error, std::fabs(static_cast<double>(got[k]) - start - sign * wanted[k]));
        }
      }
    }
    return error;
  }
  double allowed(double greatest) const { return greatest * options_.roundings * rounding<T>(); }

  void golden() {
    const std::vector<double> slopes{0.0625, 0.00390625, 0.25};  // of 3 heads, as published
    const std::vector<float> gates =
        rounded<float>(golden::kLogForget, std::size(golden::kLogForget));
    const BiasShape shape = alibi() ? BiasShape{3, 6, 6} : BiasShape{4, 5, 5};
    const BiasCase c = alibi() ? BiasCase{0, 0, slopes, {}} : BiasCase{0, 0, {}, gates};
    const double* wanted = alibi() ? golden::kAlibi : golden::kFox;
    const std::size_t count = alibi() ? std::size(golden::kAlibi) : std::size(golden::kFox);
    // The gates are rounded to float: 4 summands of at most 8.
    report_.expect("golden", worst(biased(c, shape), {wanted, wanted + count}, c, shape),
                   allowed(32) + 32 * 0x1p-24, "bias by public reference code");
  }

  /// The formula for all queries and, decoding, for the last ones; then the usual mistakes.
  void formula() {
    const BiasShape whole{kHeads, kKeys, kKeys}, last{kHeads, 2, kKeys};
    check_formula(one(), whole, "formula");
    if (options_.decode) check_formula(one(kKeys - 2), last, "decode");
    // Kernels add: what scores held before stays in them.
    const double start = 2;
    report_.expect("adds",
                   worst(biased(one(), whole, start), bias_of(one(), whole), one(), whole, start),
                   allowed(kGreatest + start), "scores were 2 before");
  }

  void check_formula(const BiasCase& c, const BiasShape& shape, std::string_view name) {
    const Scores got = biased(c, shape);
    const std::vector<double> wanted = bias_of(c, shape);
    const double error = worst(got, wanted, c, shape), limit = allowed(kGreatest);
    std::string_view what = "bias [1, 3, queries, 11] against the formula";
    if (!(error <= limit)) {
      if (worst(got, wanted, c, shape, 0, -1) <= limit) {
        name = "direction", what = "has the other sign";
      } else if (is_shifted(got, c, shape, limit)) {
        name = "offset", what = "is off by one token, or takes query 0 for key 0";
      }
    }
    report_.expect(name, error, limit, what);
  }

  bool is_shifted(const Scores& got, const BiasCase& c, const BiasShape& shape,
                  double limit) const {
    BiasCase other = c;
    other.first_query = 0;
    if (c.first_query != 0 && worst(got, bias_of(other, shape), other, shape) <= limit) return true;
    if (alibi()) {
      for (const Index by : {-1, 1}) {
        std::vector<double> wanted = bias_of(c, shape);
        for (Index h = 0; h < shape.heads; ++h) {
          for (Index k = 0; k < shape.queries * shape.keys; ++k) {
            wanted[static_cast<std::size_t>(h * shape.queries * shape.keys + k)] +=
                static_cast<double>(by) * slopes_[static_cast<std::size_t>(h)];
          }
        }
        if (worst(got, wanted, c, shape) <= limit) return true;
      }
      return false;
    }
    return worst(got, bias_of(c, shape, 0, 0), c, shape) <= limit ||
           worst(got, bias_of(c, shape, 0, 1), c, shape) <= limit ||
           worst(got, bias_of(c, shape, 1, 1), c, shape) <= limit;
  }

  /// b(i,i) = 0, b <= 0, b(i,j) = b(i,l) + b(l,j), and no sight of where the tokens stand.
  void laws() {
    const BiasShape shape{kHeads, kKeys, kKeys};
    const Scores b = biased(one(), shape);
    double diagonal = 0, positive = 0, composition = 0, relative = 0;
    const Scores moved = biased(one(0, 1000000), shape);
    for (Index h = 0; h < kHeads; ++h) {
      for (Index i = 0; i < kKeys; ++i) {
        diagonal = worse(diagonal, std::fabs(at(b, shape, h, i, i)));
        for (Index j = 0; j <= i; ++j) {
          const double whole = at(b, shape, h, i, j);
          positive = worse(positive, whole);
          relative = worse(relative, std::fabs(whole - at(moved, shape, h, i, j)));
          for (Index l = j; l <= i; ++l) {
            composition = worse(composition,
                                std::fabs(whole - at(b, shape, h, i, l) - at(b, shape, h, l, j)));
          }
        }
      }
    }
    report_.expect("diagonal", diagonal, 0, "a token's bias to itself");
    report_.expect("not_positive", positive, 0, "the greatest bias");
    report_.expect("composition", composition, 3 * allowed(kGreatest), "b(i,l) + b(l,j) - b(i,j)");
    report_.expect("relative", relative, 2 * allowed(kGreatest),
                   "the bias after all tokens moved by 1000000 positions");
  }

  /// Strong gates first, weak ones last: differences of prefix sums in T lose the weak ones.
  void long_sums() {
    const Index keys = 4096;
    std::vector<float> gates;
    for (Index l = 0; l < keys; ++l) gates.push_back(l < keys - 8 ? -4.0F : -1e-3F);
    const BiasShape shape{1, 1, keys};
    const BiasCase c{keys - 1, 0, {}, gates};
    if (!options_.decode) return;
    const Scores got = biased(c, shape);
    const std::vector<double> wanted = bias_of(c, shape);
    double error = 0;
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      error = worse(error, std::fabs(static_cast<double>(got[j]) - wanted[j]) /
                               (wanted[j] == 0 ? 1 : -wanted[j]));
    }
    report_.expect("long_sums", error, options_.long_roundings * rounding<T>() + 0x1p-40,
                   "sums of 4096 gates, relatively");
  }

  static constexpr Index kHeads = 3, kKeys = 11;
  static constexpr double kGreatest = 16;

  Kernel& kernel_;
  const BiasOptions& options_;
  Report report_;
  const std::vector<double> slopes_{0.5, 0.08, 0.003};
  const std::vector<float> log_forget_ = [] {
    Numbers numbers(3);
    std::vector<float> out;
    for (Index i = 0; i < kHeads * kKeys; ++i) {
      out.push_back(static_cast<float>(0.7 * (numbers.next() - 1)));
    }
    return out;
  }();
};

}  // namespace detail

/// Checks a bias kernel of your own, `kernel(const BiasCase&, ScoreView<T> scores)`. The checks:
///
///   golden        numbers by public reference code
///   formula       the formula in double; in place of it `direction` (the other sign) or `offset`
///                 (a summand too many or too few, query 0 taken for key 0)
///   decode        the same for the last 2 queries of 11 keys
///   adds          what scores held before stays
///   diagonal, not_positive, composition, relative       the laws of an additive encoding
///   long_sums     FoX alone: 4096 gates, weak ones after strong ones
template <Element T, class Kernel>
requires std::invocable<Kernel&, const BiasCase&, ScoreView<T>> Report
check_bias(Kernel&& kernel, const BiasOptions& options = {}) {
  return detail::BiasChecks<T, Kernel>(kernel, options).run();
}

}  // namespace grape::inline v0::conformance
