// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/detail/convert.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

template <class T>
class ConvertOf : public testing::Test {};
using Narrow = testing::Types<Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(ConvertOf, Narrow);

bool is_nan(float x) { return x != x; }

TYPED_TEST(ConvertOf, WideningIsThatOfEigenForAllBits) {
  std::vector<TypeParam> all;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    all.push_back(std::bit_cast<TypeParam>(static_cast<std::uint16_t>(bits)));
  }
  std::vector<float> row(all.size());
  grape::detail::load(all.data(), 1, std::ssize(all), row.data());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto want = static_cast<float>(all[i]);
    ASSERT_TRUE(same_bits(grape::detail::widen(all[i]), want) || is_nan(want)) << i;
    ASSERT_TRUE(same_bits(row[i], want) || (is_nan(want) && is_nan(row[i]))) << i;
  }
}

TYPED_TEST(ConvertOf, NarrowingIsThatOfEigen) {
  Random random(71);
  std::vector<float> from;
  for (int i = 0; i < 300000; ++i) {
    from.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.integer(0, 0xffffffff))));
  }
  // Ties and their neighbours.
  for (unsigned high = 0; high < 65536; ++high) {
    for (const unsigned low : {0U, 0x0fffU, 0x1000U, 0x1001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      from.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  std::vector<TypeParam> row(from.size());
  grape::detail::store(from.data(), 1, std::ssize(from), row.data());
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto want = static_cast<TypeParam>(from[i]);
    const auto one = grape::detail::narrow<TypeParam>(from[i]);
    if (is_nan(from[i])) {
      ASSERT_TRUE(is_nan(static_cast<float>(one)) && is_nan(static_cast<float>(row[i]))) << i;
    } else {
      ASSERT_TRUE(same_bits(one, want) && same_bits(row[i], want)) << from[i];
    }
  }
}

#if GRAPE_VECTORS
TEST(Convert, PairsInTwoRegistersAreReadAndRoundedLikeSingleNumbers) {
  using grape::detail::EvenOdd;
  constexpr int W = grape::detail::kVectorWidth<float>;
  Random random(73);
  std::array<Eigen::bfloat16, 2 * W> to{};
  for (int trial = 0; trial < 100000; ++trial) {
    // Every kind of number: NaN, infinite, subnormal, ties; in some trials none but usual ones.
    const auto any = [&] {
      if (trial % 3 == 0) return static_cast<float>(random.uniform(-2, 2));
      auto bits = static_cast<std::uint32_t>(random.integer(0, 0xffffffff));
      if (random.integer(0, 9) == 0) bits &= 0x807fffffU;
      if (random.integer(0, 9) == 0) bits = (bits & 0xffff0000U) | 0x8000U;
      return std::bit_cast<float>(bits);
    };
    EvenOdd<W> x{};
    for (int i = 0; i < W; ++i) {
      x.even[i] = any();
      x.odd[i] = any();
    }
    grape::detail::store_even_odd<W>(x, to.data());
    const EvenOdd<W> back = grape::detail::load_even_odd<W>(to.data());
    for (int i = 0; i < 2 * W; ++i) {
      const float from = i % 2 == 0 ? x.even[i / 2] : x.odd[i / 2];
      const auto got = to[static_cast<std::size_t>(i)];
      const float again = i % 2 == 0 ? back.even[i / 2] : back.odd[i / 2];
      if (is_nan(from)) {
        ASSERT_TRUE(is_nan(static_cast<float>(got)) && is_nan(again));
      } else {
        ASSERT_TRUE(same_bits(got, static_cast<Eigen::bfloat16>(from))) << from;
        ASSERT_TRUE(same_bits(again, static_cast<float>(got)));
      }
    }
  }
}
#endif

TYPED_TEST(ConvertOf, RowsOfEveryLengthAndStrideWriteTheirEntriesAlone) {
  Random random(72);
  for (grape::Index count = 0; count <= 40; ++count) {
    for (const grape::Index stride : {1, 2, 5}) {
      std::vector<float> from(static_cast<std::size_t>(count) + 1), back(from.size() + 1, 9.0F);
      for (float& x : from) x = static_cast<float>(random.uniform(-2, 2));
      const auto guard = static_cast<TypeParam>(7.0F);
      std::vector<TypeParam> to(static_cast<std::size_t>((count + 2) * stride), guard);
      grape::detail::store(from.data(), stride, count, to.data());
      grape::detail::load(to.data(), stride, count, back.data());
      for (std::size_t i = 0; i < to.size(); ++i) {
        const auto at = static_cast<grape::Index>(i);
        const bool inside = at % stride == 0 && at / stride < count;
        const auto k = static_cast<std::size_t>(at / stride);
        ASSERT_TRUE(same_bits(to[i], inside ? static_cast<TypeParam>(from[k]) : guard));
        if (inside) {
          ASSERT_EQ(back[k], static_cast<float>(to[i]));
        }
      }
      EXPECT_EQ(back[static_cast<std::size_t>(count)], 9.0F);
    }
  }
}

}  // namespace
