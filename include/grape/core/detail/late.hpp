// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace grape::inline v0 {
namespace detail {

template <class T, class Context>
struct Late {
  using type = T;
};

/// T, seen from a template with the parameter Context: what the template says of a late_t<T,
/// Context> depends on its parameter, so that it is compiled where the template is used, not
/// wherever its header is included. Eigen's matrices of double, which are no parameter of anything,
/// would cost every includer their products.
template <class T, class Context>
using late_t = typename Late<T, Context>::type;

}  // namespace detail
}  // namespace grape::inline v0
