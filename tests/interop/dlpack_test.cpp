// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/dlpack.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#endif

namespace {

namespace dlpack = grape::dlpack;
using grape::dlpack_view;
using grape::Index;
using grape::TensorAxes;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

// A producer's tensor of float32; fields are changed by the tests.
struct Producer {
  explicit Producer(std::vector<std::int64_t> shape_, std::vector<std::int64_t> strides_ = {})
      : shape(std::move(shape_)), strides(std::move(strides_)), memory(4000) {
    tensor.data = memory.data();
    tensor.device = {dlpack::kCpu, 0};
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype = {dlpack::kFloat, 32, 1};
    tensor.shape = shape.data();
    tensor.strides = strides.empty() ? nullptr : strides.data();
    tensor.byte_offset = 0;
  }
  std::vector<std::int64_t> shape, strides;
  std::vector<float> memory;
  dlpack::Tensor tensor{};
};

TEST(Dlpack, DenseStridedAndOffset) {
  Producer dense({2, 3, 4, 5});
  const auto view = dlpack_view<float>(dense.tensor);
  static_assert(std::same_as<decltype(view), const grape::TensorView<float>>);
  EXPECT_EQ(&view(1, 2, 3, 4), dense.memory.data() + 119);
  EXPECT_EQ(view.stride(3), 1);
  EXPECT_EQ(dlpack_view<const float>(dense.tensor, TensorAxes::bhld()).heads(), 3);
  EXPECT_EQ(grape::dlpack_score_view<float>(dense.tensor).keys(), 5);

  Producer strided({2, 3, 4, 5}, {1000, 7, 90, 1});
  strided.tensor.byte_offset = 24;
  EXPECT_EQ(&dlpack_view<float>(strided.tensor)(1, 2, 3, 4),
            strided.memory.data() + 6 + 1000 + 14 + 270 + 4);

  // The stride of a single index, and all strides of an empty tensor, are arbitrary.
  Producer single({1, 3, 1, 5}, {-77, 5, kMost, 1});
  EXPECT_EQ(&dlpack_view<float>(single.tensor)(0, 2, 0, 4), single.memory.data() + 14);
  for (const std::vector<std::int64_t>& strides :
       {std::vector<std::int64_t>{}, {-1, -2, kMost, -kMost - 1}, {0, 0, 0, 0}}) {
    Producer empty({2, 0, 4, 5}, strides);
    empty.tensor.data = nullptr;
    EXPECT_TRUE(dlpack_view<float>(empty.tensor).empty());
    empty.tensor.byte_offset = 3;  // of no data, or of data that nothing is read from
    EXPECT_EQ(dlpack_view<float>(empty.tensor).data(), nullptr);
    empty.tensor.data = empty.memory.data();
    EXPECT_TRUE(dlpack_view<float>(empty.tensor).empty());
  }
  Producer wide({0, kMost, kMost, 5});
  EXPECT_TRUE(dlpack_view<float>(wide.tensor).empty());

  // Rank 0 is one element; its shape is null.
  Producer scalar({});
  scalar.tensor.shape = nullptr;
  scalar.tensor.byte_offset = 8;
  const auto one = dlpack_view<float>(scalar.tensor, TensorAxes{-1, -1, -1, -1});
  EXPECT_EQ(one.size(), 1);
  EXPECT_EQ(one.data(), scalar.memory.data() + 2);

  Producer gates({3, 4});
  EXPECT_EQ(&dlpack_view<const float>(gates.tensor, TensorAxes{-1, 0, 1, -1})(0, 2, 3, 0),
            gates.memory.data() + 11);
}

TEST(Dlpack, EachElementTypeIsItsOwn) {
  Producer x({1, 2, 1, 2});
  const auto kinds = {std::pair{dlpack::kFloat, 64}, std::pair{dlpack::kFloat, 32},
                      std::pair{dlpack::kFloat, 16}, std::pair{dlpack::kBfloat, 16}};
  int fits = 0;
  const auto attempt = [&](auto element) {
    try {
      dlpack_view<decltype(element)>(x.tensor);
      ++fits;
    } catch (const grape::ArgumentError&) {
    }
  };
  for (const auto& [code, bits] : kinds) {
    x.tensor.dtype = {code, static_cast<std::uint8_t>(bits), 1};
    fits = 0;
    attempt(double{});
    attempt(float{});
    attempt(Eigen::half{});
    attempt(Eigen::bfloat16{});
    EXPECT_EQ(fits, 1) << int{code} << " " << bits;
  }
  x.tensor.dtype = {dlpack::kBfloat, 16, 1};
  EXPECT_NO_THROW(dlpack_view<const Eigen::bfloat16>(x.tensor));
  x.tensor.dtype = {0, 32, 1};
  EXPECT_TRUE(rejects([&] { dlpack_view<float>(x.tensor); }, "dtype", "code 0 of 32", "code 2"));
}

TEST(Dlpack, WhatIsNoViewIsRefused) {
  const auto refused = [](auto&& change, std::string_view argument, std::string_view got,
                          std::string_view wanted, std::vector<std::int64_t> strides = {}) {
    Producer x({2, 3, 4, 5}, std::move(strides));
    change(x);
    return rejects([&] { dlpack_view<float>(x.tensor); }, argument, got, wanted);
  };
  const auto nothing = [](Producer&) {};
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.device.device_type = 2; }, "device", "type 2",
                      "processor"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.dtype.lanes = 4; }, "lanes", "4", "1"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.dtype.lanes = 0; }, "lanes", "0", "1"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.ndim = -1; }, "ndim", "-1", ">= 0"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.ndim = 3; }, "axes", "axis 3", "3 axes"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.shape = nullptr; }, "ndim", "without a shape",
                      "with a shape"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.data = nullptr; }, "tensor view", "null", "data"));
  EXPECT_TRUE(
      refused([](Producer& x) { x.tensor.byte_offset = 2; }, "tensor view", "not aligned", "4"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.byte_offset = ~std::uint64_t{0}; }, "byte_offset",
                      "18446744073709551615", "address space"));
  EXPECT_TRUE(refused(
      [](Producer& x) {
        const auto start = reinterpret_cast<std::uintptr_t>(x.tensor.data);
        x.tensor.byte_offset = std::numeric_limits<std::uintptr_t>::max() - start - 7;
        x.tensor.byte_offset -= (start + x.tensor.byte_offset) % 4;
      },
      "byte_offset", "beyond the address space", "within"));
  EXPECT_TRUE(refused([](Producer& x) { x.tensor.ndim = std::numeric_limits<std::int32_t>::max(); },
                      "axes", "4 axes", "2147483647"));
  EXPECT_TRUE(refused(
      [](Producer& x) {
        x.shape[1] = 0;
        x.shape[2] = -1;
      },
      "extent 2", "-1", ">= 0"));
  EXPECT_TRUE(refused([](Producer& x) { x.shape[1] = -3; }, "extent 1", "-3", ">= 0"));
  EXPECT_TRUE(
      refused([](Producer& x) { x.shape[2] = kMost; }, "dlpack tensor", "extent 2", "fits"));
  EXPECT_TRUE(refused([](Producer& x) { x.shape[0] = kMost; }, "tensor view", "overflows", "63"));
  EXPECT_TRUE(refused(nothing, "stride 2", "-5", ">= 0", {60, 20, -5, 1}));
  EXPECT_TRUE(refused(nothing, "tensor view", "overlap", "own", {60, 20, 0, 1}));
  EXPECT_TRUE(refused(nothing, "tensor view", "overflows", "63", {kMost, 20, 5, 1}));
  for (const int device : {dlpack::kCudaHost, dlpack::kRocmHost}) {
    Producer x({2, 3, 4, 5});
    x.tensor.device.device_type = device;
    EXPECT_NO_THROW(dlpack_view<float>(x.tensor));
  }
}

int released = 0;

TEST(Dlpack, ManagedTensorsAreReadAndReleasedOnce) {
  Producer x({2, 3, 4, 5});
  dlpack::ManagedTensor managed{x.tensor, nullptr, [](dlpack::ManagedTensor*) { ++released; }};
  released = 0;
  {
    const auto owner = dlpack::own(&managed);
    EXPECT_EQ(dlpack_view<float>(*owner).data(), x.memory.data());
    EXPECT_EQ(grape::dlpack_score_view<const float>(*owner).data(), x.memory.data());
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
  managed.deleter = nullptr;
  { const auto owner = dlpack::own(&managed); }
  { const auto owner = dlpack::own(static_cast<dlpack::ManagedTensor*>(nullptr)); }
  EXPECT_EQ(released, 1);
}

TEST(Dlpack, VersionedTensorsSayWhatMayBeWritten) {
  Producer x({2, 3, 4, 5});
  dlpack::VersionedTensor managed{{1, 1}, nullptr, nullptr, dlpack::kReadOnly, x.tensor};
  EXPECT_EQ(dlpack_view<const float>(managed).data(), x.memory.data());
  EXPECT_TRUE(
      rejects([&] { dlpack_view<float>(managed); }, "dlpack tensor", "read-only", "view of const"));
  EXPECT_TRUE(rejects([&] { grape::dlpack_score_view<float>(managed); }, "dlpack tensor",
                      "read-only", "view of const"));
  managed.flags = 2;
  EXPECT_EQ(dlpack_view<float>(managed).data(), x.memory.data());
  managed.version.major = 2;
  managed.dl_tensor.ndim = 77;  // not to be looked at
  EXPECT_TRUE(rejects([&] { dlpack_view<const float>(managed); }, "version", "2", "1"));
}

TEST(Dlpack, RotatesInPlace) {
  Producer x({2, 3, 4, 6}, {500, 6, 100, 1});  // [batch, heads, seq, dim] in [heads, seq] memory
  Random random(2);
  for (float& value : x.memory) value = static_cast<float>(random.uniform(-1, 1));
  std::vector<float> expected = x.memory;
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(6));
  const auto action = rope.at(grape::Positions::range(9, 4));
  grape::apply_rotation(action,
                        grape::TensorView<float>(expected.data(), {2, 4, 3, 6}, {500, 100, 6, 1}));
  grape::apply_rotation(action, dlpack_view<float>(x.tensor, TensorAxes::bhld()));
  EXPECT_EQ(x.memory, expected);
}

#if __has_include(<dlpack/dlpack.h>)
// The structures of DLPack's own header are laid out as ours, and taken as they are.
static_assert(sizeof(DLTensor) == sizeof(dlpack::Tensor));
static_assert(offsetof(DLTensor, byte_offset) == offsetof(dlpack::Tensor, byte_offset));
static_assert(sizeof(DLManagedTensor) == sizeof(dlpack::ManagedTensor));
static_assert(dlpack::PlainTensor<DLTensor> && dlpack::AnyManagedTensor<DLManagedTensor>);
#endif

}  // namespace
