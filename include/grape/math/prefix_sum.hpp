// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// A sum as two doubles, high + low, |low| <= half an ulp of high: some 106 bits.
///
/// Why: a path needs differences U_i - U_j of sums over a whole sequence. A double U has an error
/// of 2^-53 |U| in each step, so that after a million tokens of mean -0.1 (|U| = 1e5) a difference
/// is off by 1e-11, which is below the rounding of a float for differences above 2e-4; among strong
/// gates (|U| = 3e7, off by 4e-9) a weak one of -1e-3 keeps only 18 of a float's 24 bits. With both
/// parts the error is 2^-105 |U| a step, and `difference` is accurate to 2^-52 of its own value
/// wherever that exceeds 2^-50 |U| or so for a million tokens and more.
///
/// Flags that let the compiler re-associate (-ffast-math) reduce this to what a double gives.
struct CompensatedSum {
  double high = 0;
  double low = 0;

  /// Adds a finite x.
  void add(double x) {
    const double sum = high + x;  // Knuth's two-sum: sum + error is exactly high + x
    const double part = sum - high;
    const double error = (high - (sum - part)) + (x - part);
    low += error;
    high = sum + low;  // |low| is far below |sum|, or sum is 0
    low -= high - sum;
  }
};

/// a - b. The high parts' difference is exact where they are within a factor of 2, and else has
/// the size of the larger one, so that neither case cancels.
inline double difference(const CompensatedSum& a, const CompensatedSum& b) {
  return (a.high - b.high) + (a.low - b.low);
}

/// Inclusive prefix sums: high[t] + low[t] = start + x[0] + .. + x[t]; x(t) gives the terms.
template <class Terms>
CompensatedSum prefix_sums(Index count, Terms&& x, double* high, double* low,
                           CompensatedSum sum = {}) {
  for (Index t = 0; t < count; ++t) {
    sum.add(x(t));
    high[t] = sum.high;
    low[t] = sum.low;
  }
  return sum;
}

/// The transpose of prefix_sums: visit(t, x[t] + .. + x[count - 1]) from the last t to the first.
template <class Terms, class Visit>
void suffix_sums(Index count, Terms&& x, Visit&& visit) {
  CompensatedSum sum;
  for (Index t = count; t-- > 0;) {
    sum.add(x(t));
    visit(t, sum.high);
  }
}

}  // namespace grape::inline v0
