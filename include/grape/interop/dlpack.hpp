// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/axes.hpp"

/// Views of tensors that PyTorch, NumPy, JAX, TensorFlow and others hand over through DLPack. The
/// functions take the structures of <dlpack/dlpack.h> as well as the ones here, which are laid out
/// alike (DLPack 1.x), so that its header is not needed.

namespace grape::inline v0 {
namespace dlpack {

/// DLDeviceType, as far as a processor can read the memory.
enum DeviceType : std::int32_t { kCpu = 1, kCudaHost = 3, kRocmHost = 11 };
/// DLDataTypeCode, as far as grape has such elements.
enum DataTypeCode : std::uint8_t { kFloat = 2, kBfloat = 4 };
/// The bit of VersionedTensor::flags that forbids writing.
inline constexpr std::uint64_t kReadOnly = 1;
/// The major version whose layout the structures below have.
inline constexpr std::uint32_t kMajorVersion = 1;

/// DLDevice.
struct Device {
  std::int32_t device_type;
  std::int32_t device_id;
};
/// DLDataType: bits of one element; lanes > 1 are elements that are vectors.
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
/// DLTensor: shape and strides, in elements, have ndim entries; strides null means dense row-major.
struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
/// DLManagedTensor, what a capsule "dltensor" holds.
struct ManagedTensor {
  Tensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);  ///< as DLPack has it
};
/// DLPackVersion.
struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};
/// DLManagedTensorVersioned, what a capsule "dltensor_versioned" holds.
struct VersionedTensor {
  Version version;
  void* manager_ctx;
  void (*deleter)(VersionedTensor* self);  ///< as DLPack has it
  std::uint64_t flags;
  Tensor dl_tensor;
};
static_assert(sizeof(void*) != 8 || (sizeof(Tensor) == 48 && offsetof(Tensor, byte_offset) == 40));
static_assert(sizeof(void*) != 8 || sizeof(ManagedTensor) == 64);
static_assert(sizeof(void*) != 8 || offsetof(VersionedTensor, dl_tensor) == 32);

/// DLTensor or dlpack::Tensor.
template <class X>
concept PlainTensor = requires(const X& x) {
  { x.data } -> std::convertible_to<const void*>;
  { x.device.device_type } -> std::convertible_to<int>;
  { x.ndim } -> std::convertible_to<std::int32_t>;
  { x.dtype.lanes } -> std::convertible_to<std::uint16_t>;
  { x.shape } -> std::convertible_to<const std::int64_t*>;
  { x.strides } -> std::convertible_to<const std::int64_t*>;
  { x.byte_offset } -> std::convertible_to<std::uint64_t>;
};
/// DLManagedTensor, DLManagedTensorVersioned or the like of them here.
template <class X>
concept AnyManagedTensor = requires(X& x) {
  requires PlainTensor<std::remove_reference_t<decltype((x.dl_tensor))>>;
  x.deleter(&x);
};

/// Calls a managed tensor's deleter once: std::unique_ptr<ManagedTensor, Release>.
struct Release {
  template <AnyManagedTensor X>
  void operator()(X* x) const {
    if (x != nullptr && x->deleter != nullptr) x->deleter(x);
  }
};

/// Owns a managed tensor from now on: keep it as long as views of it are used. DLPack wants a
/// tensor of an unknown major version released without a look at it, which own(x) leaves possible.
template <AnyManagedTensor X>
std::unique_ptr<X, Release> own(X* x) {
  return std::unique_ptr<X, Release>(x);
}

}  // namespace dlpack

namespace detail {

template <Element T>
constexpr dlpack::DataType dlpack_type() {
  constexpr bool kBrain = std::same_as<std::remove_const_t<T>, Eigen::bfloat16>;
  constexpr bool kNarrow = kBrain || std::same_as<std::remove_const_t<T>, Eigen::half>;
  constexpr int kBits = std::same_as<std::remove_const_t<T>, double> ? 64 : kNarrow ? 16 : 32;
  return {kBrain ? dlpack::kBfloat : dlpack::kFloat, kBits, 1};
}

/// Checks device, dtype and shape, and returns where the first element is.
template <class T, class X>
T* check_dlpack(const X& x) {
  const int device = static_cast<int>(x.device.device_type);
  if (device != dlpack::kCpu && device != dlpack::kCudaHost && device != dlpack::kRocmHost) {
    fail("dlpack device", text("device type ", device),
         "memory of the processor (1, or pinned: 3, 11)");
  }
  constexpr dlpack::DataType kWanted = dlpack_type<T>();
  if (x.dtype.lanes != 1) {
    fail("dlpack lanes", text(static_cast<int>(x.dtype.lanes)), "1");
  }
  if (x.dtype.code != kWanted.code || x.dtype.bits != kWanted.bits) {
    fail("dlpack dtype",
         text("type code ", static_cast<int>(x.dtype.code), " of ", static_cast<int>(x.dtype.bits),
              " bits"),
         text("type code ", static_cast<int>(kWanted.code), " of ", static_cast<int>(kWanted.bits),
              " bits, the view's element type"));
  }
  if (x.ndim < 0 || (x.ndim > 0 && x.shape == nullptr)) {
    fail("dlpack ndim", text(x.ndim, x.shape == nullptr ? " without a shape" : ""),
         "a number >= 0 with a shape");
  }
  const auto start = reinterpret_cast<std::uintptr_t>(x.data);
  if (x.byte_offset > (std::numeric_limits<std::uintptr_t>::max)() - start) {
    fail("dlpack byte_offset", text(x.byte_offset),
         "an offset that stays within the address space");
  }
  if (x.data == nullptr) return nullptr;
  return reinterpret_cast<T*>(start + static_cast<std::uintptr_t>(x.byte_offset));
}

template <class X, class Axes>
Arranged arrange_dlpack(const X& x, const Axes& axes) {
  return arrange(
      "dlpack tensor", static_cast<int>(x.ndim), axes, [&](int r) { return x.shape[r]; },
      [&](int r) {
        if (x.strides != nullptr) return static_cast<Index>(x.strides[r]);
        Index stride = 1;
        for (int a = r + 1; a < x.ndim; ++a) {
          if (x.shape[a] < 0) return Index{0};  // the view refuses the extent
          if (!multiply_checked(stride, static_cast<Index>(x.shape[a]), stride)) {
            fail("dlpack tensor", text("extent ", a, " of ", x.shape[a]),
                 "extents whose product fits into Index");
          }
        }
        return stride;
      });
}

template <class T, class X>
void check_managed(const X& x) {
  if constexpr (requires { x.version.major; }) {
    if (x.version.major != dlpack::kMajorVersion) {
      fail("dlpack version", text(x.version.major), text("major version ", dlpack::kMajorVersion));
    }
  }
  if constexpr (!std::is_const_v<T> && requires { x.flags; }) {
    if ((x.flags & dlpack::kReadOnly) != 0) {
      fail("dlpack tensor", "a read-only tensor", "a writable one, or a view of const");
    }
  }
}

/// Throws unless the last element has an address too: byte_offset is any 64-bit number.
template <class T>
void check_reach(const StridedView<T>& view) {
  if (view.empty()) return;
  Index last = 0;
  for (std::size_t a = 0; a < 4; ++a) last += (view.extent(a) - 1) * view.stride(a);
  const auto start = reinterpret_cast<std::uintptr_t>(view.data());
  if (static_cast<std::uintptr_t>(last) >
      ((std::numeric_limits<std::uintptr_t>::max)() - start) / sizeof(T)) {
    fail("dlpack byte_offset", "elements beyond the address space",
         "an offset that stays within the address space");
  }
}

template <class T, class View, class X, class Axes>
View dlpack_view(const X& x, const Axes& axes) {
  static_assert(dlpack::PlainTensor<X> || dlpack::AnyManagedTensor<X>,
                "grape: a view is made of a DLTensor, a DLManagedTensor or a "
                "DLManagedTensorVersioned itself: of a pointer pass *pointer");
  if constexpr (dlpack::PlainTensor<X>) {
    T* data = check_dlpack<T>(x);  // before the shape is read
    const auto view = view_by(axes, data, arrange_dlpack(x, axes));
    check_reach<T>(view);
    return view;
  } else if constexpr (dlpack::AnyManagedTensor<X>) {
    check_managed<T>(x);
    return dlpack_view<T, View>(x.dl_tensor, axes);
  } else {
    return View(nullptr, {0, 0, 0, 0});
  }
}

}  // namespace detail

/// A DLPack tensor, plain or managed, as a view: dlpack_view<float>(x), dlpack_view<const float>(x,
/// TensorAxes::bhld()). The tensor keeps its memory and a managed one stays the caller's (see
/// dlpack::own): the view must not outlive it. Throws ArgumentError unless the memory is the
/// processor's, the dtype is T with one lane, the axes fit ndim, and the shape, strides and byte
/// offset make a TensorView (no negative stride); also where a managed tensor is read-only and T is
/// not const, and for a version with another layout.
template <Element T, class X>
TensorView<T> dlpack_view(const X& tensor, const TensorAxes& axes = {}) {
  return detail::dlpack_view<T, TensorView<T>>(tensor, axes);
}

/// The same as a view of scores [batch, heads, queries, keys].
template <Element T, class X>
ScoreView<T> dlpack_score_view(const X& tensor, const ScoreAxes& axes = {}) {
  return detail::dlpack_view<T, ScoreView<T>>(tensor, axes);
}

}  // namespace grape::inline v0
