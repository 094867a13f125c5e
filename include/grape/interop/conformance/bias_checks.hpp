// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/bias_case.hpp"
#include "grape/interop/conformance/diagnosis.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance {

namespace detail {

using grape::detail::text;

/// Runs the checks of one kernel.
template <Element T, class Kernel>
class BiasChecks {
 public:
  BiasChecks(Kernel& kernel, const BiasOptions& options) : kernel_(kernel), options_(options) {}

  Report run() {
    check_roundings("options.roundings", options_.roundings);
    check_roundings("options.long_roundings", options_.long_roundings);
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
  /// The greatest magnitude that query i of head h deals with. Errors are measured in it, so that
  /// heads of small slopes count as much as the others, and a kernel may take differences of what
  /// keys and queries hold each: their errors are those of the farthest key.
  static double unit(const BiasCase& c, const BiasShape& shape, Index h, Index i) {
    const Index at = i + c.first_query;
    if (!c.slopes.empty()) {
      return static_cast<double>((std::max<Index>)(at, 1)) * c.slopes[static_cast<std::size_t>(h)];
    }
    double sum = 0x1p-20;  // gates may be 0
    for (Index l = 0; l <= at; ++l) {
      sum -= static_cast<double>(c.log_forget[static_cast<std::size_t>(l * shape.heads + h)]);
    }
    return sum;
  }
  /// What was added to `start`, at or below the diagonal, in units (and `start`, whose roundings
  /// the sum has too).
  template <class Values>
  static std::vector<double> in_units(const Values& values, const BiasCase& c,
                                      const BiasShape& shape, double start = 0, double before = 0) {
    std::vector<double> out = visible(values, c, shape);
    std::size_t k = 0;
    for (Index h = 0; h < shape.heads; ++h) {
      for (Index i = 0; i < shape.queries; ++i) {
        const double whole = start + unit(c, shape, h, i);
        for (Index j = 0; j <= (std::min)(i + c.first_query, shape.keys - 1); ++j, ++k) {
          out[k] = (out[k] - before) / whole;
        }
      }
    }
    return out;
  }
  /// The worst error at or below the diagonal, in units.
  static double worst(const Scores& got, const std::vector<double>& wanted, const BiasCase& c,
                      const BiasShape& shape, double start = 0) {
    return distance(in_units(got, c, shape, start, start), in_units(wanted, c, shape, start));
  }
  /// In units.
  double allowed() const { return options_.roundings * rounding<T>(); }

  void golden() {
    const std::vector<double> slopes{0.0625, 0.00390625, 0.25};  // of 3 heads, as published
    const std::vector<float> gates =
        rounded<float>(golden::kLogForget, std::size(golden::kLogForget));
    const BiasShape shape = alibi() ? BiasShape{3, 6, 6} : BiasShape{4, 5, 5};
    const BiasCase c = alibi() ? BiasCase{0, 0, slopes, {}} : BiasCase{0, 0, {}, gates};
    const double* wanted = alibi() ? golden::kAlibi : golden::kFox;
    const std::size_t count = alibi() ? std::size(golden::kAlibi) : std::size(golden::kFox);
    // The gates are rounded to float.
    report_.expect("golden", worst(biased(c, shape), {wanted, wanted + count}, c, shape),
                   allowed() + 0x1p-23, "bias by public reference code");
  }

  /// The formula for all queries and, decoding, for the last ones; then the usual mistakes.
  void formula() {
    const BiasShape whole{kHeads, kKeys, kKeys}, last{kHeads, 2, kKeys};
    check_formula(one(), whole, "formula");
    if (options_.decode) {
      check_formula(one(kKeys - 2), last, "decode");
    } else {
      report_.skipped.emplace_back("decode: options.decode is false");
    }
    // Kernels add: what scores held before stays in them.
    const double start = 2;
    report_.expect("adds",
                   worst(biased(one(), whole, start), bias_of(one(), whole), one(), whole, start),
                   allowed(), "scores were 2 before");
  }

  void check_formula(const BiasCase& c, const BiasShape& shape, std::string_view name) {
    const Scores got = biased(c, shape);
    const std::vector<double> wanted = bias_of(c, shape);
    const double error = worst(got, wanted, c, shape), limit = allowed();
    struct Candidate {
      const char* check;
      const char* what;
      std::vector<double> numbers;
    };
    constexpr const char* kOff = "is off by one token";
    std::vector<Candidate> candidates{{"precision", "", wanted},
                                      {"direction", "has the other sign", wanted}};
    for (double& b : candidates[1].numbers) b = -b;
    candidates.push_back({"encoding", "adds nothing", std::vector<double>(wanted.size())});
    if (c.first_query != 0) {
      BiasCase other = c;
      other.first_query = 0;
      candidates.push_back({"offset", "takes query 0 for key 0", bias_of(other, shape)});
    }
    if (alibi()) {
      candidates.push_back({"offset", kOff, moved_by(wanted, shape, -1)});
      candidates.push_back({"offset", kOff, moved_by(wanted, shape, 1)});
    } else {
      candidates.push_back({"offset", kOff, bias_of(c, shape, 0, 0)});
      candidates.push_back({"offset", kOff, bias_of(c, shape, 0, 1)});
      candidates.push_back({"offset", kOff, bias_of(c, shape, 1, 1)});
    }
    std::vector<std::vector<double>> hypotheses;
    for (const Candidate& candidate : candidates) {
      hypotheses.push_back(in_units(candidate.numbers, c, shape));
    }
    // Conventions differ by half a unit and more in the first rows.
    const Verdict verdict =
        explain(in_units(got, c, shape), hypotheses, {limit, limit + 0.125}, true);
    if (verdict.hypothesis == Verdict::kNone) {
      report_.expect(name, error, limit,
                     "bias [1, 3, queries, 11] against the formula; no usual mistake");
      return;
    }
    if (verdict.hypothesis == 0 && error <= limit) {
      report_.expect(name, error, limit, "bias [1, 3, queries, 11] against the formula");
      return;
    }
    if (verdict.hypothesis != 0) {
      const Candidate& candidate = candidates[verdict.hypothesis];
      report_.expect(candidate.check, error, far_nearer(error, limit), candidate.what);
    }
    if (verdict.gain != 1) {
      const bool base_2 = std::fabs(verdict.gain - 1.4426950408889634) < 1e-3;
      report_.expect("scale", error, limit,
                     text("multiplies the bias by ", brief(verdict.gain, 6),
                          base_2 ? ", which is log2(e): logits to the base 2?" : ""));
    } else if (verdict.hypothesis == 0) {
      report_.expect("precision", error, limit,
                     "right convention, not exact; computed in fewer bits than the element type "
                     "has?");
    }
  }

  /// ALiBi's bias of keys one further on or back.
  std::vector<double> moved_by(std::vector<double> bias, const BiasShape& shape,
                               double steps) const {
    const auto entries = static_cast<std::size_t>(shape.queries * shape.keys);
    for (std::size_t k = 0; k < bias.size(); ++k) bias[k] += steps * slopes_[k / entries];
    return bias;
  }
  /// The entries at or below the diagonal.
  template <class Values>
  static std::vector<double> visible(const Values& values, const BiasCase& c,
                                     const BiasShape& shape) {
    std::vector<double> out;
    for (Index h = 0; h < shape.heads; ++h) {
      for (Index i = 0; i < shape.queries; ++i) {
        for (Index j = 0; j <= (std::min)(i + c.first_query, shape.keys - 1); ++j) {
          const auto k = static_cast<std::size_t>((h * shape.queries + i) * shape.keys + j);
          out.push_back(static_cast<double>(values[k]));
        }
      }
    }
    return out;
  }

  /// b(i,i) = 0, b <= 0, b(i,j) = b(i,l) + b(l,j), and no sight of where the tokens stand.
  void laws() {
    const BiasShape shape{kHeads, kKeys, kKeys};
    const Scores b = biased(one(), shape);
    double diagonal = 0, positive = 0, composition = 0, relative = 0;
    const Scores moved = biased(one(0, 1000000), shape);
    for (Index h = 0; h < kHeads; ++h) {
      for (Index i = 0; i < kKeys; ++i) {
        const double magnitude = unit(one(), shape, h, i);
        diagonal = worse(diagonal, std::fabs(at(b, shape, h, i, i)));
        for (Index j = 0; j <= i; ++j) {
          const double whole = at(b, shape, h, i, j);
          positive = worse(positive, whole);
          relative = worse(relative, std::fabs(whole - at(moved, shape, h, i, j)) / magnitude);
          for (Index l = j; l <= i; ++l) {
            composition =
                worse(composition,
                      std::fabs(whole - at(b, shape, h, i, l) - at(b, shape, h, l, j)) / magnitude);
          }
        }
      }
    }
    report_.expect("diagonal", diagonal, 0, "a token's bias to itself");
    report_.expect("not_positive", positive, 0, "the greatest bias");
    report_.expect("composition", composition, 3 * allowed(), "b(i,l) + b(l,j) - b(i,j)");
    report_.expect("relative", relative, 2 * allowed(),
                   "the bias after all tokens moved by 1000000 positions");
  }

  /// Strong gates first, weak ones last: differences of prefix sums in T lose the weak ones. A
  /// kernel that takes no fewer queries than keys has to make a whole square, of fewer tokens.
  void long_sums() {
    const Index keys = options_.decode ? 4096 : 512;
    std::vector<float> gates;
    for (Index l = 0; l < keys; ++l) gates.push_back(l < keys - 8 ? -4.0F : -1e-3F);
    const BiasShape shape{1, options_.decode ? 1 : keys, keys};
    const BiasCase c{keys - shape.queries, 0, {}, gates};
    const std::vector<double> got = visible(biased(c, shape), c, shape);
    const std::vector<double> wanted = visible(bias_of(c, shape), c, shape);
    double error = 0;
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      error = worse(error, std::fabs(got[j] - wanted[j]) / (wanted[j] == 0 ? 1 : -wanted[j]));
    }
    report_.expect("long_sums", error, options_.long_roundings * rounding<T>() + 0x1p-40,
                   text("sums of ", keys, " gates, relatively"));
  }

  static constexpr Index kHeads = 3, kKeys = 11;

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

}  // namespace grape::inline v0::conformance
