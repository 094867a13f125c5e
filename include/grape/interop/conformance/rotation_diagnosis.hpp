// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/conformance/diagnosis.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation_case.hpp"

namespace grape::inline v0::conformance::detail {

using grape::detail::text;

/// What angles of floats are off by, relatively: theta, the power that makes it, the position and
/// their product, each rounded.
inline constexpr double kFloatAngle = 0x1p-22;
inline constexpr const char* kFloatAngles = "; angles computed in float32?";

/// Finds out which of the usual mistakes a rotation x -> got makes that fails the formula. Numbers
/// of x are in [-1, 1]; positions are small but for one.
template <Element T>
class RotationDiagnosis {
 public:
  /// Of x, [tokens, heads, dim].
  struct Shape {
    Index heads;   ///< of each token
    Index dim;     ///< of each head
    Index planes;  ///< that turn: the first 2 planes coordinates
  };
  /// The norm of a pair of coordinates of at most 1.
  static constexpr double kNorm = 1.4142135623730951;

  /// `rounded` is what may be off by roundings of T alone, `allowed` by those of the angles too.
  RotationDiagnosis(const std::vector<T>& x, const std::vector<T>& got, const RotationCase& c,
                    const Shape& shape, double rounded, double allowed)
      : x_(x),
        got_(got),
        case_(c),
        shape_(shape),
        rounded_(rounded),
        allowed_(allowed),
        wanted_(turned(c)),
        error_(worst(got, wanted_)) {}

  /// Says so in the report. Returns whether angles of floats explain it.
  ///
  /// Mistakes are told apart at small positions, where angles of any precision are right.
  bool report(Report& report) const {
    RotationCase other = case_, by_index = case_;
    other.pairing =
        case_.pairing == Pairing::interleaved ? Pairing::half_split : Pairing::interleaved;
    std::vector<std::int64_t> indices;
    for (std::size_t t = 0; t < case_.positions.size(); ++t) {
      indices.push_back(static_cast<std::int64_t>(t));
    }
    by_index.positions = indices;
    constexpr const char* kOther = "pairs the coordinates in the other way";
    constexpr const char* kMinus = "turns by minus the angle";
    constexpr const char* kShift = "turns by the position before or after";
    struct Candidate {
      std::vector<std::pair<const char*, const char*>> failures;
      std::vector<double> numbers;
    };
    const Candidate candidates[] = {
        {{}, small(wanted_)},
        {{{"direction", kMinus}}, small(turned(case_, -1))},
        {{{"encoding", "turns nothing"}}, small(turned(case_, 0))},
        {{{"pairing", kOther}}, small(turned(other))},
        {{{"direction", kMinus}, {"pairing", kOther}}, small(turned(other, -1))},
        {{{"offset", kShift}}, small(turned(case_, 1, 1))},
        {{{"offset", kShift}}, small(turned(case_, 1, -1))},
        {{{"offset", "turns by the token's index, not by its position"}}, small(turned(by_index))},
    };
    std::vector<std::vector<double>> hypotheses;
    for (const Candidate& candidate : candidates) hypotheses.push_back(candidate.numbers);
    const Verdict verdict = explain(small(got_), hypotheses, {allowed_, loose()}, true);
    if (verdict.hypothesis == Verdict::kNone) {
      report.expect("formula", error_, allowed_,
                    "x [5, 3, dim] against the formula; no usual mistake");
      return false;
    }
    for (const auto& [check, what] : candidates[verdict.hypothesis].failures) {
      report.expect(check, error_, allowed_, what);
    }
    if (verdict.gain != 1) {
      report.expect("scale", error_, allowed_,
                    text("multiplies the rotated coordinates by ", brief(verdict.gain, 6)));
      return false;
    }
    return verdict.hypothesis == 0 && report_precision(report);
  }

 private:
  static constexpr std::int64_t kSmall = 17;

  /// Another convention is off by about the norm of a pair.
  double loose() const { return allowed_ + kNorm / 16; }

  /// Of a kernel that is right, but not exact: how far off it is, where, and what does that.
  bool report_precision(Report& report) const {
    const auto row = static_cast<std::size_t>(shape_.heads * shape_.dim);
    double greatest = 0, of_positive = 0, angle_error = 0;
    std::int64_t where = 0;
    for (std::size_t t = 0; t < case_.positions.size(); ++t) {
      const std::int64_t n = case_.positions[t];
      double error = 0;
      for (std::size_t i = t * row; i < (t + 1) * row; ++i) {
        error = worse(error, std::fabs(static_cast<double>(got_[i]) - wanted_[i]));
      }
      if (error > greatest) greatest = error, where = n;
      if (n >= 0) of_positive = (std::max)(of_positive, error);
      const auto steps = static_cast<double>(n < 0 ? -n : n);
      if (error > rounded_)
        angle_error = (std::max)(angle_error, (error - rounded_) / (kNorm * steps));
    }
    if (greatest > loose() && angle_error > kFloatAngle) {
      const bool negative = where < 0 && of_positive <= loose();
      report.expect("formula", greatest, allowed_,
                    text("right at positions 0 to ", kSmall, ", wrong at position ", where,
                         negative ? "; negative positions?"
                                  : "; a table that is too short, or angles in half or bfloat16?"));
      return false;
    }
    const bool float_angles = angle_error <= kFloatAngle;
    report.expect(
        "precision", greatest, allowed_,
        text("right convention, not exact; worst at position ", where,
             float_angles ? kFloatAngles : "; computed in fewer bits than the element type has?"));
    return float_angles;
  }

  std::vector<double> turned(const RotationCase& c, double turn = 1, std::int64_t shift = 0) const {
    return rotated(x_, c, shape_.heads, shape_.dim, turn, shift);
  }
  /// The rotated coordinates of the tokens at small positions.
  template <class Values>
  std::vector<double> small(const Values& values) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t n =
          case_.positions[i / static_cast<std::size_t>(shape_.heads * shape_.dim)];
      if (n < 0 || n > kSmall || static_cast<Index>(i) % shape_.dim >= 2 * shape_.planes) continue;
      out.push_back(static_cast<double>(values[i]));
    }
    return out;
  }

  const std::vector<T>& x_;
  const std::vector<T>& got_;
  const RotationCase& case_;
  Shape shape_;
  double rounded_, allowed_;
  std::vector<double> wanted_;
  double error_;
};

}  // namespace grape::inline v0::conformance::detail
