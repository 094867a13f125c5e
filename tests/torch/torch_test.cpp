// SPDX-License-Identifier: Apache-2.0
// PyTorch's own tensors, handed over by DLPack.
#include <ATen/DLConvertor.h>
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "grape/apply/rotation.hpp"
#include "grape/interop/dlpack.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace {

constexpr std::int64_t kBatch = 2, kSeq = 5, kHeads = 3, kDim = 16, kStart = 1000;

/// RoFormer's eq. 34 for pairs (m, m + M), by PyTorch in double.
at::Tensor rotated(const at::Tensor& x) {
  const at::Tensor n = at::arange(kStart, kStart + kSeq, at::kDouble).view({1, kSeq, 1, 1});
  const at::Tensor theta = at::pow(10000.0, at::arange(0, kDim / 2, at::kDouble) * (-2.0 / kDim));
  const at::Tensor angle = n * theta, wide = x.to(at::kDouble);
  const at::Tensor x0 = wide.narrow(3, 0, kDim / 2), x1 = wide.narrow(3, kDim / 2, kDim / 2);
  return at::cat({x0 * angle.cos() - x1 * angle.sin(), x0 * angle.sin() + x1 * angle.cos()}, 3);
}

TEST(Torch, TensorsAreRotatedInPlace) {
  const at::Tensor dense = at::randn({kBatch, kSeq, kHeads, kDim});
  const at::Tensor heads_first = at::randn({kBatch, kHeads, kSeq, kDim}).transpose(1, 2);
  const at::Tensor fused = at::randn({kBatch, kSeq, 3 * kHeads, kDim}).narrow(2, kHeads, kHeads);
  const grape::RoPE<float, grape::Pairing::half_split> rope(grape::spectrum::log_uniform(kDim));
  const auto action = rope.at(grape::Positions::range(kStart, kSeq));
  for (const at::Tensor& x : {dense, heads_first, fused}) {
    const at::Tensor want = rotated(x);
    const auto owner = grape::dlpack::own(at::toDLPack(x));
    grape::apply_rotation(action, grape::dlpack_view<float>(*owner));
    // Half an ulp each for the cosine, its product and the sum, on entries of at most 8.
    EXPECT_LT((x.to(at::kDouble) - want).abs().max().item<double>(), 3 * 8 * 0x1p-24);
  }
}

TEST(Torch, OtherDtypesAreNamed) {
  const auto owner = grape::dlpack::own(at::toDLPack(at::ones({1, 1, 1, 4}, at::kLong)));
  EXPECT_THROW(grape::dlpack_view<float>(*owner), grape::ArgumentError);
}

}  // namespace
