// SPDX-License-Identifier: Apache-2.0
#include "grape/core/view.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>

#include "support/errors.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;
using grape::ScoreView;
using grape::TensorView;

static_assert(std::is_convertible_v<TensorView<float>, TensorView<const float>>);
static_assert(!std::is_convertible_v<TensorView<const float>, TensorView<float>>);
static_assert(!std::is_convertible_v<TensorView<float>, TensorView<const double>>);
static_assert(std::is_convertible_v<ScoreView<Eigen::half>, ScoreView<const Eigen::half>>);
static_assert(!std::is_convertible_v<ScoreView<const double>, ScoreView<double>>);
static_assert(std::is_trivially_copyable_v<TensorView<float>>);

constexpr Index kMost = std::numeric_limits<Index>::max();

TEST(View, FactoriesFollowTheirNames) {
  constexpr Index kB = 2, kL = 3, kH = 4, kD = 5;
  std::vector<float> x(kB * kL * kH * kD);
  const auto blhd = grape::blhd(x.data(), kB, kL, kH, kD);
  const auto bhld = grape::bhld(x.data(), kB, kH, kL, kD);
  const auto bhqk = grape::bhqk(x.data(), kB, kH, kL, kD);
  const auto blh = grape::blh(x.data(), kB, kL, kH);
  for (Index b = 0; b < kB; ++b) {
    for (Index l = 0; l < kL; ++l) {
      for (Index h = 0; h < kH; ++h) {
        EXPECT_EQ(&blh(b, l, h, 0) - x.data(), (b * kL + l) * kH + h);
        for (Index d = 0; d < kD; ++d) {
          EXPECT_EQ(&blhd(b, l, h, d) - x.data(), ((b * kL + l) * kH + h) * kD + d);
          EXPECT_EQ(&bhld(b, l, h, d) - x.data(), ((b * kH + h) * kL + l) * kD + d);
          EXPECT_EQ(&bhqk(b, h, l, d) - x.data(), ((b * kH + h) * kL + l) * kD + d);
        }
      }
    }
  }
  for (const auto& view : {blhd, bhld}) {
    EXPECT_EQ(view.batch(), kB);
    EXPECT_EQ(view.seq(), kL);
    EXPECT_EQ(view.heads(), kH);
    EXPECT_EQ(view.dim(), kD);
    EXPECT_EQ(view.size(), kB * kL * kH * kD);
    EXPECT_FALSE(view.empty());
  }
  EXPECT_EQ(bhqk.batch(), kB);
  EXPECT_EQ(bhqk.heads(), kH);
  EXPECT_EQ(bhqk.queries(), kL);
  EXPECT_EQ(bhqk.keys(), kD);
  EXPECT_EQ(blh.dim(), 1);
}

TEST(View, OfAMatrix) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Matrix matrix = Matrix::Random(3, 8);
  const auto view = grape::matrix_view(matrix, 2);
  EXPECT_EQ(view.batch(), 1);
  EXPECT_EQ(view.seq(), 3);
  EXPECT_EQ(view.heads(), 2);
  EXPECT_EQ(view.dim(), 4);
  for (Index l = 0; l < 3; ++l) {
    for (Index h = 0; h < 2; ++h) {
      for (Index d = 0; d < 4; ++d) EXPECT_EQ(&view(0, l, h, d), &matrix(l, h * 4 + d));
    }
  }
  const Matrix& constant = matrix;
  static_assert(std::same_as<decltype(grape::matrix_view(constant, 2)), TensorView<const float>>);
  EXPECT_EQ(&grape::matrix_view(constant, 2)(0, 1, 1, 1), &matrix(1, 5));

  // Strided: every other column of the right half of a wider matrix.
  using Step = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  Eigen::Map<Matrix, Eigen::Unaligned, Step> part(matrix.data() + 4, 3, 2, Step(8, 2));
  const auto strided = grape::matrix_view(part, 2);
  for (Index l = 0; l < 3; ++l) {
    for (Index h = 0; h < 2; ++h) EXPECT_EQ(&strided(0, l, h, 0), &matrix(l, 4 + 2 * h));
  }

  EXPECT_TRUE(rejects([&] { grape::matrix_view(matrix, 3); }, "heads", "3", "8 columns"));
  EXPECT_TRUE(rejects([&] { grape::matrix_view(matrix, 0); }, "heads", "0", "divisor"));
  EXPECT_TRUE(rejects([&] { grape::matrix_view(matrix, -2); }, "heads", "-2", "divisor"));
  static_assert(!grape::RowMajorMatrix<Eigen::MatrixXf> && grape::RowMajorMatrix<Matrix>);
  Matrix none(0, 8);
  EXPECT_TRUE(grape::matrix_view(none, 2).empty());
}

TEST(View, EmptyOnesNeedNoData) {
  float* null = nullptr;
  EXPECT_TRUE(grape::blhd(null, 0, 3, 4, 5).empty());
  EXPECT_TRUE(grape::blhd(null, 2, 0, 4, 5).empty());
  EXPECT_TRUE(grape::bhld(null, 2, 0, 4, 5).empty());
  EXPECT_TRUE(grape::blhd(null, 2, 3, 4, 0).empty());
  EXPECT_TRUE(grape::bhqk(null, 2, 3, 0, 7).empty());
  EXPECT_TRUE(TensorView<float>(null, {kMost, kMost, 0, kMost}, {1, 1, 1, 1}).empty());
  EXPECT_EQ(grape::blhd(null, kMost, 0, kMost, kMost).size(), 0);
  EXPECT_EQ(TensorView<float>(null, {kMost, kMost, 0, kMost}, {1, 1, 1, 1}).size(), 0);
}

TEST(View, RejectsNegativeExtentsAndStrides) {
  std::vector<float> x(100);
  for (std::size_t axis = 0; axis < 4; ++axis) {
    std::array<Index, 4> extents{2, 2, 2, 2}, strides{8, 4, 2, 1};
    const std::string number = std::to_string(axis);
    extents[axis] = -3;
    EXPECT_TRUE(rejects([&] { TensorView<float>(x.data(), extents, strides); },
                        "tensor view extent " + number, "-3", ">= 0"));
    EXPECT_TRUE(rejects([&] { TensorView<float>(x.data(), extents); },
                        "tensor view extent " + number, "-3", ">= 0"));
    extents[axis] = 2;
    strides[axis] = -1;
    EXPECT_TRUE(rejects([&] { ScoreView<float>(x.data(), extents, strides); },
                        "score view stride " + number, "-1", ">= 0"));
  }
  EXPECT_TRUE(rejects([&] { grape::blhd(x.data(), 1, -1, 1, 1); }, "extent 1", "-1", ">= 0"));
  // A negative extent is an error even where another extent is 0.
  EXPECT_TRUE(rejects([&] { grape::blhd(x.data(), 0, 1, 1, -1); }, "extent 3", "-1", ">= 0"));
}

TEST(View, RejectsSizesThatOverflow) {
  float x = 0;
  constexpr Index kBig = Index{1} << 40;
  EXPECT_TRUE(
      rejects([&] { grape::blhd(&x, 1, kBig, kBig, 1); }, "tensor view", "overflow", "63 bits"));
  EXPECT_TRUE(
      rejects([&] { grape::blhd(&x, kBig, 1, 1, kBig); }, "tensor view", "overflow", "63 bits"));
  EXPECT_TRUE(rejects([&] { grape::bhld(&x, kBig, kBig, kBig, kBig); }, "tensor view", "overflow",
                      "63 bits"));
  EXPECT_TRUE(rejects(
      [&] {
        TensorView<float>(&x, {2, 1, 1, 1}, {kMost / 2, 1, 1, 1});
      },
      "tensor view", std::to_string(kMost / 2), "63 bits"));
  EXPECT_TRUE(rejects(
      [&] {
        TensorView<float>(&x, {3, 1, 1, 1}, {kMost, 1, 1, 1});
      },
      "tensor view", "overflow", "63 bits"));
  EXPECT_TRUE(rejects(
      [&] {
        TensorView<const float>(&x, {kBig, kBig, 1, 1}, {0, 0, 0, 0});
      },
      "tensor view", "overflow", "63 bits"));
  // A huge stride of an axis with one entry means nothing.
  EXPECT_NO_THROW(TensorView<float>(&x, {1, 1, 1, 1}, {kMost, kMost, kMost, kMost}));
}

TEST(View, RejectsNullData) {
  EXPECT_TRUE(rejects([] { grape::blhd<float>(nullptr, 1, 1, 1, 1); }, "tensor view",
                      "null data with extents [1, 1, 1, 1]", "an extent that is 0"));
  EXPECT_TRUE(rejects([] { grape::bhqk<double>(nullptr, 1, 2, 3, 4); }, "score view",
                      "null data with extents [1, 2, 3, 4]", "data"));
}

template <class T>
class MisalignedView : public testing::Test {};
TYPED_TEST_SUITE(MisalignedView, ElementTypes);
TYPED_TEST(MisalignedView, IsRejected) {
  alignas(16) char memory[64] = {};
  for (std::size_t shift = 1; shift < alignof(TypeParam); ++shift) {
    auto* data = reinterpret_cast<TypeParam*>(memory + shift);
    EXPECT_TRUE(rejects([&] { grape::blhd(data, 1, 1, 1, 2); }, "tensor view", "not aligned",
                        std::to_string(alignof(TypeParam))));
    EXPECT_NO_THROW(grape::blhd(data, 1, 1, 1, 0));
  }
  EXPECT_NO_THROW(
      grape::blhd(reinterpret_cast<TypeParam*>(memory + alignof(TypeParam)), 1, 1, 1, 2));
}

TEST(View, RejectsOverlapWhereItCanBeWritten) {
  std::vector<float> x(100);
  const std::array<Index, 4> repeated[] = {
      {0, 4, 2, 1}, {8, 0, 2, 1}, {8, 4, 2, 0}, {7, 4, 2, 1}, {3, 2, 1, 1}};
  for (const auto& strides : repeated) {
    EXPECT_TRUE(rejects(
        [&] {
          TensorView<float>(x.data(), {2, 2, 2, 2}, strides);
        },
        "tensor view", "elements overlap", "its own element"));
    EXPECT_TRUE(rejects(
        [&] {
          ScoreView<float>(x.data(), {2, 2, 2, 2}, strides);
        },
        "score view", "elements overlap", "const"));
    EXPECT_NO_THROW(TensorView<const float>(x.data(), {2, 2, 2, 2}, strides));
  }
  // Broadcast over the batch, for reading.
  const TensorView<const float> broadcast(x.data(), {5, 3, 1, 4}, {0, 4, 4, 1});
  EXPECT_EQ(&broadcast(4, 1, 0, 2), &broadcast(0, 1, 0, 2));
  // Strides that interleave without meeting.
  EXPECT_NO_THROW(TensorView<float>(x.data(), {2, 3, 2, 2}, {1, 2, 18, 7}));
}

TEST(View, AllLayoutsOfTheTestsAreLegal) {
  Random random(1);
  for (const Layout& layout : layouts(2, 3, 4, 5)) {
    SCOPED_TRACE(layout.name);
    Strided<float> tensor(layout, random);
    EXPECT_NO_THROW(tensor.tensor());
    EXPECT_EQ(tensor.values().size(), 120U);
  }
}

TEST(View, SharedElementsAreFound) {
  std::vector<float> x(6 * 4);
  using grape::detail::share_elements;
  const TensorView<float> q(x.data(), {1, 2, 1, 4}, {24, 12, 4, 1});
  const TensorView<float> k(x.data() + 4, {1, 2, 1, 4}, {24, 12, 4, 1});
  const TensorView<float> late(x.data() + 3, {1, 2, 1, 4}, {24, 12, 4, 1});
  EXPECT_TRUE(share_elements(q, q));
  EXPECT_FALSE(share_elements(q, k));
  EXPECT_FALSE(share_elements(k, q));
  EXPECT_TRUE(share_elements(q, late));
  EXPECT_TRUE(share_elements(late, k));
  EXPECT_TRUE(share_elements(q, TensorView<const float>(q)));
  EXPECT_FALSE(share_elements(q, TensorView<float>(x.data(), {1, 0, 1, 4})));
  EXPECT_TRUE(share_elements(ScoreView<float>(x.data(), {1, 1, 2, 3}), q));
  // Behind each other, touching.
  EXPECT_FALSE(
      share_elements(grape::blhd(x.data(), 1, 1, 1, 8), grape::blhd(x.data() + 8, 1, 1, 1, 8)));
  // Other element types: by address range.
  const TensorView<Eigen::half> other(reinterpret_cast<Eigen::half*>(x.data() + 4), {1, 1, 1, 8});
  EXPECT_TRUE(share_elements(q, other));
  const TensorView<Eigen::half> behind(reinterpret_cast<Eigen::half*>(x.data() + 16), {1, 1, 1, 8});
  EXPECT_FALSE(share_elements(q, behind));
}

}  // namespace
