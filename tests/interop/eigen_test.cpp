// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/eigen.hpp"

#include <gtest/gtest.h>

#include <unsupported/Eigen/CXX11/Tensor>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace {

using grape::Index;
using grape::TensorAxes;
using grape::TensorView;

constexpr Index kB = 2, kL = 5, kH = 3, kD = 6;

static_assert(!grape::EigenTensor<Eigen::MatrixXf>);
static_assert(!grape::EigenTensor<std::vector<float>>);
static_assert(grape::ColumnMajorMatrix<Eigen::MatrixXf>);
static_assert(!grape::ColumnMajorMatrix<Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>);

// Every element of the view is the one that `at` names.
template <class View, class At>
void expect_same_elements(const View& view, const At& at) {
  ASSERT_EQ(view.size(), kB * kL * kH * kD);
  for (Index b = 0; b < kB; ++b) {
    for (Index l = 0; l < kL; ++l) {
      for (Index h = 0; h < kH; ++h) {
        for (Index d = 0; d < kD; ++d) EXPECT_EQ(&view(b, l, h, d), &at(b, l, h, d));
      }
    }
  }
}

TEST(EigenTensor, IsAViewInEitherOrder) {
  Eigen::Tensor<float, 4> columns(kB, kL, kH, kD);
  Eigen::Tensor<double, 4, Eigen::RowMajor> rows(kB, kL, kH, kD);
  Eigen::Tensor<float, 4, Eigen::RowMajor> heads_first(kB, kH, kL, kD);
  Eigen::Tensor<float, 4> reversed(kD, kH, kL, kB);
  expect_same_elements(
      grape::tensor_view(columns), [&](Index b, Index l, Index h, Index d) -> auto& {
        return columns(b, l, h, d);
      });
  expect_same_elements(
      grape::tensor_view(rows), [&](Index b, Index l, Index h, Index d) -> auto& {
        return rows(b, l, h, d);
      });
  expect_same_elements(
      grape::tensor_view(heads_first, TensorAxes::bhld()),
      [&](Index b, Index l, Index h, Index d) -> auto& { return heads_first(b, h, l, d); });
  const auto view = grape::tensor_view(reversed, TensorAxes::reversed());
  expect_same_elements(
      view, [&](Index b, Index l, Index h, Index d) -> auto& { return reversed(d, h, l, b); });
  EXPECT_EQ(view.stride(3), 1);
}

TEST(EigenTensor, MapsConstantsAndFixedSizes) {
  std::vector<float> memory(static_cast<std::size_t>(kB * kL * kH * kD));
  Eigen::TensorMap<Eigen::Tensor<float, 4, Eigen::RowMajor>> map(memory.data(), kB, kL, kH, kD);
  static_assert(std::same_as<decltype(grape::tensor_view(map)), TensorView<float>>);
  EXPECT_EQ(&grape::tensor_view(map)(1, 2, 1, 3), &memory[((1 * kL + 2) * kH + 1) * kD + 3]);

  const Eigen::Tensor<float, 4> constant(kB, kL, kH, kD);
  static_assert(std::same_as<decltype(grape::tensor_view(constant)), TensorView<const float>>);
  EXPECT_EQ(&grape::tensor_view(constant)(1, 2, 1, 3), &constant(1, 2, 1, 3));

  Eigen::TensorFixedSize<double, Eigen::Sizes<kL, kH, kD>, Eigen::RowMajor> fixed;
  const auto view = grape::tensor_view(fixed, TensorAxes::lhd());
  EXPECT_EQ(view.batch(), 1);
  EXPECT_EQ(&view(0, 4, 2, 5), &fixed(4, 2, 5));

  Eigen::Tensor<Eigen::half, 3, Eigen::RowMajor> scores(kH, kL, kL);
  const auto score = grape::score_view(scores, grape::ScoreAxes::hqk());
  EXPECT_EQ(score.heads(), kH);
  EXPECT_EQ(&score(0, 2, 1, 3), &scores(2, 1, 3));

  Eigen::Tensor<float, 4> empty(kB, 0, kH, kD);
  EXPECT_TRUE(grape::tensor_view(empty).empty());
  constexpr Index kMost = std::numeric_limits<Index>::max();
  const Eigen::TensorMap<Eigen::Tensor<float, 4>> wide(nullptr, 0, kMost, kMost, 1);
  EXPECT_TRUE(grape::tensor_view(wide).empty());
}

TEST(EigenTensor, OfAnotherRankIsRefused) {
  Eigen::Tensor<float, 3> tensor(kL, kH, kD);
  EXPECT_TRUE(rejects([&] { grape::tensor_view(tensor); }, "tensor axes", "axis 3", "3 axes"));
}

TEST(EigenTensor, RotatesInPlace) {
  Random random(1);
  Eigen::Tensor<float, 4> tensor(kB, kL, kH, kD);
  std::vector<float> dense;
  for (Index b = 0; b < kB; ++b) {
    for (Index l = 0; l < kL; ++l) {
      for (Index h = 0; h < kH; ++h) {
        for (Index d = 0; d < kD; ++d) {
          dense.push_back(tensor(b, l, h, d) = static_cast<float>(random.uniform(-2, 2)));
        }
      }
    }
  }
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(kD));
  const auto action = rope.at(grape::Positions::range(3, kL));
  const auto expected = grape::blhd(dense.data(), kB, kL, kH, kD);
  grape::apply_rotation(action, grape::tensor_view(tensor));
  grape::apply_rotation(action, expected);
  for (Index b = 0; b < kB; ++b) {
    for (Index l = 0; l < kL; ++l) {
      for (Index h = 0; h < kH; ++h) {
        // A fused multiply-add or none: two roundings of numbers of at most 2 sqrt(2).
        for (Index d = 0; d < kD; ++d) {
          EXPECT_NEAR(tensor(b, l, h, d), expected(b, l, h, d), 2 * 2.9 * 0x1p-24);
        }
      }
    }
  }
}

TEST(ColumnView, HasATokenInEachColumn) {
  Eigen::MatrixXf matrix = Eigen::MatrixXf::Random(kH * kD, kL);
  const auto view = grape::column_view(matrix, kH);
  EXPECT_EQ(view.batch(), 1);
  EXPECT_EQ(view.seq(), kL);
  EXPECT_EQ(view.heads(), kH);
  EXPECT_EQ(view.dim(), kD);
  for (Index l = 0; l < kL; ++l) {
    for (Index h = 0; h < kH; ++h) {
      for (Index d = 0; d < kD; ++d) EXPECT_EQ(&view(0, l, h, d), &matrix(h * kD + d, l));
    }
  }
  const Eigen::MatrixXf& constant = matrix;
  static_assert(std::same_as<decltype(grape::column_view(constant, kH)), TensorView<const float>>);
  EXPECT_EQ(&grape::column_view(constant, 2)(0, 1, 1, 2), &matrix(kH * kD / 2 + 2, 1));
  auto block = matrix.middleRows(kD, 2 * kD);
  EXPECT_EQ(&grape::column_view(block, 2)(0, 3, 1, 2), &matrix(2 * kD + 2, 3));
  EXPECT_TRUE(rejects([&] { grape::column_view(matrix, 4); }, "heads", "4", "18 rows"));
  EXPECT_TRUE(rejects([&] { grape::column_view(matrix, 0); }, "heads", "0", "18 rows"));
}

}  // namespace
