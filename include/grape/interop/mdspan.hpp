// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/axes.hpp"

/// Views of std::mdspan, Kokkos' mdspan, and whatever else offers extents, strides and a data
/// handle. Includes neither.

namespace grape::inline v0 {

/// What a view of an mdspan needs: rank(), extent(r), stride(r), is_strided(), and a data_handle()
/// that is a plain pointer to what an access refers to (the default accessor, not a scaling one).
template <class M>
concept Mdspan = requires(const M& m) {
  { M::rank() } -> std::convertible_to<std::size_t>;
  m.extent(M::rank() - M::rank());
  m.is_strided();
  m.stride(M::rank() - M::rank());
  requires std::is_pointer_v<std::remove_cvref_t<decltype(m.data_handle())>>;
  requires std::same_as < typename M::reference,
      std::remove_pointer_t<std::remove_cvref_t<decltype(m.data_handle())>>
  & > ;
};

namespace detail {

template <Mdspan M, class Axes>
Arranged arrange_mdspan(const M& m, const Axes& axes) {
  if (!m.is_strided()) {
    fail("mdspan", "a layout without strides", "a strided layout");
  }
  using Rank = std::remove_cvref_t<decltype(M::rank())>;
  const auto extent = [&](int r) { return m.extent(static_cast<Rank>(r)); };
  if constexpr (M::rank() == 0) {  // std::mdspan has no strides then, not even to compile
    return arrange("mdspan", 0, axes, extent, extent);
  } else {
    return arrange("mdspan", static_cast<int>(M::rank()), axes, extent,
                   [&](int r) { return m.stride(static_cast<Rank>(r)); });
  }
}

template <Mdspan M, class Axes>
auto mdspan_view(const M& m, const Axes& axes) {
  return view_by(axes, m.data_handle(), arrange_mdspan(m, axes));
}

}  // namespace detail

/// The elements of an mdspan as a view: tensor_view(m), tensor_view(m, TensorAxes::bhld()). The
/// view must not outlive the memory. Throws ArgumentError for axes that do not fit its rank, for a
/// layout that is not strided, and where TensorView does.
template <Mdspan M>
auto tensor_view(const M& m, const TensorAxes& axes = {}) {
  return detail::mdspan_view(m, axes);
}

/// The same as a view of scores [batch, heads, queries, keys].
template <Mdspan M>
auto score_view(const M& m, const ScoreAxes& axes = {}) {
  return detail::mdspan_view(m, axes);
}

}  // namespace grape::inline v0
