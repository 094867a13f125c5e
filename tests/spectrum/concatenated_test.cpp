// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/concatenated.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using grape::Spectrum;
using grape::spectrum::concatenated;

TEST(Concatenated, PutsPlanesBehindEachOther) {
  const Spectrum s =
      concatenated({Spectrum({1, 2}), Spectrum::per_head({3, 4}, 2), Spectrum({5.0})});
  EXPECT_EQ(s.sets(), 2);
  EXPECT_EQ(s.planes(), 4);
  const std::vector<double> want{1, 2, 3, 5, 1, 2, 4, 5};
  EXPECT_EQ(std::vector<double>(s.frequencies().begin(), s.frequencies().end()), want);
  EXPECT_EQ(concatenated({Spectrum({1.0}, 1.5), Spectrum({2.0}, 1.5)}).attention_factor(), 1.5);
}

TEST(Concatenated, RejectsPartsThatDiffer) {
  EXPECT_TRUE(rejects([] { concatenated({}); }, "parts", "0 spectra", "at least one"));
  EXPECT_TRUE(rejects(
      [] {
        concatenated({Spectrum::per_head({1, 2}, 2), Spectrum::per_head({1, 2, 3}, 3)});
      },
      "parts[1]", "3 sets", "2 sets, or 1"));
  EXPECT_TRUE(rejects(
      [] {
        concatenated({Spectrum({1.0}), Spectrum({1.0}, 2.0)});
      },
      "parts[1]", "attention factor 2", "first part, 1"));
}

}  // namespace
