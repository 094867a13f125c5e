// SPDX-License-Identifier: Apache-2.0
// The kit's header alone: half and bfloat16 are complete types behind it.
#include "grape/interop/conformance.hpp"
//
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>

namespace {

using grape::Index;
using grape::ScoreView;
using grape::conformance::BiasCase;
using grape::conformance::check_bias;
using grape::conformance::Report;

template <class T>
void alibi(const BiasCase& c, ScoreView<T> scores) {
  for (Index h = 0; h < scores.heads(); ++h) {
    const auto slope = static_cast<float>(c.slopes[static_cast<std::size_t>(h)]);
    for (Index i = 0; i < scores.queries(); ++i) {
      const Index at = i + c.first_query;
      for (Index j = 0; j <= std::min(at, scores.keys() - 1); ++j) {
        T& score = scores(0, h, i, j);
        score = static_cast<T>(static_cast<float>(score) + static_cast<float>(j - at) * slope);
      }
    }
  }
}

template <class T>
class OfNarrowElement : public testing::Test {};
using NarrowElements = testing::Types<Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(OfNarrowElement, NarrowElements);

TYPED_TEST(OfNarrowElement, ConformanceHeaderAlone) {
  using T = TypeParam;
  const Report report = check_bias<T>(alibi<T>);
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_FALSE(check_bias<T>([](const BiasCase&, ScoreView<T>) {}).passed());
}

}  // namespace
