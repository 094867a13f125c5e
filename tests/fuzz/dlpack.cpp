// SPDX-License-Identifier: Apache-2.0
// Any fields of a DLPack tensor: an accepted one is within what its fields say.
#include <Eigen/Core>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fuzz.hpp"
#include "grape/interop/axes.hpp"
#include "grape/interop/dlpack.hpp"

namespace {

using grape::Index;

// A view's last element lies where shape, strides and byte_offset put it.
template <class T>
void import(const grape::dlpack::VersionedTensor& managed, const grape::TensorAxes& axes) {
  fuzz::accepted([&] {
    const auto x = grape::dlpack_view<T>(managed, axes);
    if (x.empty()) return;
    const auto start = reinterpret_cast<std::uintptr_t>(managed.dl_tensor.data);
    fuzz::require(reinterpret_cast<std::uintptr_t>(x.data()) ==
                      start + static_cast<std::uintptr_t>(managed.dl_tensor.byte_offset),
                  "the first element is at byte_offset");
    Index wanted = 1;
    for (int a = 0; a < managed.dl_tensor.ndim; ++a) wanted *= managed.dl_tensor.shape[a];
    fuzz::require(wanted == x.size(), "all elements are there");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  constexpr int kMost = 6;
  std::array<std::int64_t, kMost> shape{}, strides{};
  for (auto& e : shape) e = fuzz::integer(data);
  for (auto& s : strides) s = fuzz::integer(data);
  alignas(64) static float memory[64];
  grape::dlpack::VersionedTensor managed{};
  auto& x = managed.dl_tensor;
  x.data = data.ConsumeIntegralInRange(0, 7) == 0 ? nullptr : static_cast<void*>(memory);
  x.device = {data.ConsumeIntegralInRange(0, 16), 0};
  x.ndim = data.ConsumeIntegralInRange(-1, kMost);
  x.dtype = {data.ConsumeIntegralInRange<std::uint8_t>(0, 6),
             data.PickValueInArray<std::uint8_t>({8, 16, 32, 64, 0, 255}),
             data.ConsumeIntegralInRange<std::uint16_t>(0, 2)};
  x.shape = data.ConsumeIntegralInRange(0, 15) == 0 ? nullptr : shape.data();
  x.strides = data.ConsumeBool() ? nullptr : strides.data();
  x.byte_offset = static_cast<std::uint64_t>(fuzz::integer(data));
  managed.version = {data.ConsumeIntegralInRange<std::uint32_t>(0, 2), 0};
  managed.flags = data.ConsumeIntegralInRange<std::uint64_t>(0, 3);
  grape::TensorAxes axes;
  if (data.ConsumeBool()) {
    axes = {.batch = data.ConsumeIntegralInRange(-2, kMost),
            .seq = data.ConsumeIntegralInRange(-2, kMost),
            .heads = data.ConsumeIntegralInRange(-2, kMost),
            .dim = data.ConsumeIntegralInRange(-2, kMost)};
  }
  import <float>(managed, axes);
  import <const float>(managed, axes);
  import <double>(managed, axes);
  import <Eigen::half>(managed, axes);
  import <const Eigen::bfloat16>(managed, axes);
  fuzz::accepted([&] { grape::dlpack_score_view<const float>(managed); });
  return 0;
}
