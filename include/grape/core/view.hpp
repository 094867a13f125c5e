// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "grape/core/config.hpp"
#include "grape/core/error.hpp"
#include "grape/core/overlap.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// A non-owning rank-4 view with a stride for each index. Strides count elements, where NumPy's
/// count bytes. It must not outlive the memory.
///
/// Invariant, established by the constructor: extents and strides are >= 0, the last element's
/// offset fits into Index, data is aligned for T and not null unless the view is empty, and, where
/// T is not const, no two index tuples name one element. A const view may repeat elements (stride
/// 0). Throws ArgumentError where that does not hold. T is an Element.
template <class T>
class StridedView {
  static_assert(Element<T>, "grape: a view is one of float, double, half or bfloat16");

 public:
  using element_type = T;
  using Array = std::array<Index, 4>;

  StridedView(T* data GRAPE_LIFETIMEBOUND, const Array& extents, const Array& strides,
              std::string_view name)
      : data_(data), extents_(extents), strides_(strides) {
    check(name);
  }

  T* data() const { return data_; }
  Index extent(std::size_t axis) const { return extents_[axis]; }
  Index stride(std::size_t axis) const { return strides_[axis]; }
  /// The number of elements. (Of an empty view the other extents may be anything.)
  Index size() const { return empty() ? 0 : extents_[0] * extents_[1] * extents_[2] * extents_[3]; }
  bool empty() const {
    return extents_[0] == 0 || extents_[1] == 0 || extents_[2] == 0 || extents_[3] == 0;
  }
  T& operator()(Index i, Index j, Index k, Index l) const {
    return data_[i * strides_[0] + j * strides_[1] + k * strides_[2] + l * strides_[3]];
  }

  /// Stride and extent of each axis.
  std::array<detail::Digit, 4> digits() const {
    std::array<detail::Digit, 4> out{};
    for (std::size_t a = 0; a < 4; ++a) out[a] = {strides_[a], extents_[a]};
    return out;
  }

 protected:
  struct Unchecked {};
  StridedView(T* data, const Array& extents, const Array& strides, Unchecked)
      : data_(data), extents_(extents), strides_(strides) {}

  /// Strides of a dense row-major array; the largest Index where a product of extents does not fit,
  /// which check() refuses.
  static Array dense(const Array& extents) {
    Array strides{0, 0, 0, 1};
    for (std::size_t a = 3; a-- > 0;) {
      if (extents[a + 1] < 0) return strides;
      if (!detail::multiply_checked(strides[a + 1], extents[a + 1], strides[a])) {
        strides[a] = (std::numeric_limits<Index>::max)();
      }
    }
    return strides;
  }

 private:
  void check(std::string_view name) const {
    bool none = false;
    for (std::size_t a = 0; a < 4; ++a) {
      if (extents_[a] < 0) fail_axis(name, "extent", a, extents_[a]);
      if (strides_[a] < 0) fail_axis(name, "stride", a, strides_[a]);
      none = none || extents_[a] == 0;
    }
    if (none) return;
    constexpr Index kMost = (std::numeric_limits<Index>::max)() / static_cast<Index>(sizeof(T));
    Index reach = 0, count = 1;
    for (std::size_t a = 0; a < 4; ++a) {
      Index step = 0;
      if (!detail::multiply_checked(extents_[a] - 1, strides_[a], step) || step > kMost - reach ||
          !detail::multiply_checked(count, extents_[a], count)) {
        detail::fail(name, detail::text(shape_text(), ", which overflows the index type"),
                     "a view whose size in bytes fits into 63 bits");
      }
      reach += step;
    }
    if (data_ == nullptr) {
      detail::fail(name, detail::text("null data with ", shape_text()),
                   "data, or an extent that is 0");
    }
    if (reinterpret_cast<std::uintptr_t>(data_) % alignof(T) != 0) {
      detail::fail(name, "data that is not aligned for its element type",
                   detail::text("an address divisible by ", alignof(T)));
    }
    if constexpr (!std::is_const_v<T>) {
      if (detail::overlaps_itself(digits())) {
        detail::fail(
            name, detail::text(shape_text(), ", in which elements overlap"),
            "strides that give each index its own element (only a view of const may repeat)");
      }
    }
  }

  [[noreturn]] GRAPE_COLD static void fail_axis(std::string_view name, std::string_view what,
                                                std::size_t axis, Index got) {
    detail::fail(detail::text(name, " ", what, " ", axis), detail::text(got), "a value >= 0");
  }

  GRAPE_COLD std::string shape_text() const {
    auto list = [](const Array& a) {
      return detail::text("[", a[0], ", ", a[1], ", ", a[2], ", ", a[3], "]");
    };
    return detail::text("extents ", list(extents_), " with strides ", list(strides_));
  }

  T* data_;
  Array extents_;
  Array strides_;
};

/// A view [batch, seq, heads, dim] of queries, keys, values or their gradients. See StridedView for
/// the invariant. A last stride other than 1 is legal and slower.
template <class T>
class TensorView : public StridedView<T> {
  using Base = StridedView<T>;

 public:
  using typename Base::Array;

  TensorView(T* data GRAPE_LIFETIMEBOUND, const Array& extents, const Array& strides)
      : Base(data, extents, strides, "tensor view") {}
  /// Dense row-major [batch, seq, heads, dim].
  TensorView(T* data GRAPE_LIFETIMEBOUND, const Array& extents)
      : TensorView(data, extents, Base::dense(extents)) {}
  /// A writable view is readable.
  template <class U>
  requires(std::is_const_v<T>&& std::same_as<const U, T> && !std::is_const_v<U>)
      TensorView(const TensorView<U>& v)  // NOLINT(google-explicit-constructor)
      : Base(v.data(), {v.batch(), v.seq(), v.heads(), v.dim()},
             {v.stride(0), v.stride(1), v.stride(2), v.stride(3)}, typename Base::Unchecked{}) {}

  Index batch() const { return this->extent(0); }
  Index seq() const { return this->extent(1); }
  Index heads() const { return this->extent(2); }
  Index dim() const { return this->extent(3); }
};

/// A view [batch, heads, queries, keys] of attention scores (logits before the softmax).
template <class T>
class ScoreView : public StridedView<T> {
  using Base = StridedView<T>;

 public:
  using typename Base::Array;

  ScoreView(T* data GRAPE_LIFETIMEBOUND, const Array& extents, const Array& strides)
      : Base(data, extents, strides, "score view") {}
  /// Dense row-major [batch, heads, queries, keys].
  ScoreView(T* data GRAPE_LIFETIMEBOUND, const Array& extents)
      : ScoreView(data, extents, Base::dense(extents)) {}
  /// A writable view is readable.
  template <class U>
  requires(std::is_const_v<T>&& std::same_as<const U, T> && !std::is_const_v<U>)
      ScoreView(const ScoreView<U>& v)  // NOLINT(google-explicit-constructor)
      : Base(v.data(), {v.batch(), v.heads(), v.queries(), v.keys()},
             {v.stride(0), v.stride(1), v.stride(2), v.stride(3)}, typename Base::Unchecked{}) {}

  Index batch() const { return this->extent(0); }
  Index heads() const { return this->extent(1); }
  Index queries() const { return this->extent(2); }
  Index keys() const { return this->extent(3); }
};

/// Dense memory [batch, seq, heads, dim] as a view.
template <class T>
TensorView<T> blhd(T* data GRAPE_LIFETIMEBOUND, Index batch, Index seq, Index heads, Index dim) {
  return TensorView<T>(data, {batch, seq, heads, dim});
}

/// Dense memory [batch, heads, seq, dim] as a view.
template <class T>
TensorView<T> bhld(T* data GRAPE_LIFETIMEBOUND, Index batch, Index heads, Index seq, Index dim) {
  const TensorView<T> dense(data, {batch, heads, seq, dim});
  return TensorView<T>(data, {batch, seq, heads, dim},
                       {dense.stride(0), dense.stride(2), dense.stride(1), dense.stride(3)});
}

/// Dense memory [batch, seq, heads], one number per token and head (gates, phase increments), as a
/// view with dim 1.
template <class T>
TensorView<T> blh(T* data GRAPE_LIFETIMEBOUND, Index batch, Index seq, Index heads) {
  return TensorView<T>(data, {batch, seq, heads, 1});
}

/// Dense memory [batch, heads, queries, keys] as a view of scores.
template <class T>
ScoreView<T> bhqk(T* data GRAPE_LIFETIMEBOUND, Index batch, Index heads, Index queries,
                  Index keys) {
  return ScoreView<T>(data, {batch, heads, queries, keys});
}

/// What the view of a matrix needs: Eigen's row-major matrices, maps and references offer it.
template <class M>
concept RowMajorMatrix = requires(M& m) {
  m.data();
  { m.rows() } -> std::convertible_to<Index>;
  { m.cols() } -> std::convertible_to<Index>;
  { m.outerStride() } -> std::convertible_to<Index>;
  { m.innerStride() } -> std::convertible_to<Index>;
  requires bool(std::remove_cvref_t<M>::IsRowMajor);
};

/// A row-major matrix [seq, heads * dim] (one row a token) as a view with batch 1. Throws
/// ArgumentError unless `heads` divides its columns. The view must not outlive the matrix.
template <RowMajorMatrix M>
auto matrix_view(M& matrix, Index heads) {
  using T = std::remove_pointer_t<decltype(matrix.data())>;
  const Index rows = matrix.rows(), cols = matrix.cols();
  if (heads <= 0 || cols % heads != 0) {
    detail::fail("heads", detail::text(heads), detail::text("a divisor of the ", cols, " columns"));
  }
  const Index dim = cols / heads, inner = matrix.innerStride(), outer = matrix.outerStride();
  return TensorView<T>(matrix.data(), {1, rows, heads, dim},
                       {rows * outer, outer, dim * inner, inner});
}

/// Says what a matrix lacks that is no RowMajorMatrix.
template <class M>
requires(!RowMajorMatrix<M>) TensorView<float> matrix_view(M&, Index) {
  static_assert(sizeof(M) == 0,
                "grape: matrix_view takes a row-major matrix [seq, heads * dim]; for a "
                "column-major one [heads * dim, seq] there is column_view in "
                "grape/interop/eigen.hpp");
  return {nullptr, {0, 0, 0, 0}};
}

namespace detail {

/// Whether two views share an element. Views of different element types are compared by their
/// address ranges alone.
template <class T, class U>
bool share_elements(const StridedView<T>& a, const StridedView<U>& b) {
  if (a.empty() || b.empty()) return false;
  const auto last = [](const auto& v) {
    return v.data() + (v.extent(0) - 1) * v.stride(0) + (v.extent(1) - 1) * v.stride(1) +
           (v.extent(2) - 1) * v.stride(2) + (v.extent(3) - 1) * v.stride(3) + 1;
  };
  const auto at = [](const auto* p) { return reinterpret_cast<std::uintptr_t>(p); };
  if (at(last(a)) <= at(b.data()) || at(last(b)) <= at(a.data())) return false;
  if constexpr (std::same_as<std::remove_const_t<T>, std::remove_const_t<U>>) {
    const auto bytes = static_cast<std::intptr_t>(at(b.data()) - at(a.data()));
    return overlap_each_other(a.digits(), b.digits(), bytes / static_cast<Index>(sizeof(T)));
  } else {
    return true;
  }
}

}  // namespace detail
}  // namespace grape::inline v0
