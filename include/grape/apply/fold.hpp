// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/generator/canonical_planes.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/math/frame.hpp"

namespace grape::inline v0 {

/// What a model does to queries and keys between their projections and the rotation.
enum class QkNorm {
  none,  ///< nothing
  rms,   ///< divides each head by its root mean square, and by or with one number a head
  per_channel_gain,  ///< multiplies each channel by a gain of its own (most models' QK-norm)
};

namespace detail {

inline void check_norm(QkNorm norm) {
  if (norm == QkNorm::per_channel_gain) {
    fail("norm", "a per-channel gain after the projection",
         "none or rms: folding turns the head's basis in front of the gain, which would then scale "
         "other directions than it was learned for, so rotate in the frame instead");
  }
}

template <class G, class W>
void check_projection(const G& planes, const W& w, std::string_view argument) {
  const Index d = planes.dim();
  if (w.rows() == 0 || w.rows() % d != 0) {
    fail(text(argument, " rows"), text(w.rows()), text("heads x ", d, ", the frame's dimension"));
  }
  check_heads(argument, w.rows() / d, planes.sets());
}

/// The basis of R^d of a set whose coordinates the canonical planes turn: the frame's planes where
/// the pairing expects them, then what stands still.
template <class G, class M = late_t<FrameMatrix, G>>
M folding_basis(const G& planes, Index set, Pairing pairing) {
  const Index count = planes.spectrum().planes();
  const M whole = frame::completed<M>(planes.frame(set).leftCols(2 * count));
  M out = whole;
  for (Index m = 0; m < count; ++m) {
    const PlaneCoordinates at = plane_coordinates(pairing, m, count);
    out.col(at.first) = whole.col(2 * m);
    out.col(at.second) = whole.col(2 * m + 1);
  }
  return out;
}

/// The memory of a matrix that is laid out with strides, as a view.
template <class W>
auto elements_of(const W& w) {
  using T = std::remove_pointer_t<decltype(w.data())>;
  return TensorView<const T>(w.data(), {1, 1, w.rows(), w.cols()},
                             {0, 0, w.rowStride(), w.colStride()});
}

template <class W>
concept StridedMatrix = requires(const W& w) {
  w.data();
  w.rowStride();
  w.colStride();
};

template <class M, class W>
void fold_rows(const std::vector<M>& bases, W& w) {
  using T = std::remove_cvref_t<decltype(w(0, 0))>;
  const Index d = bases.front().rows(), heads = w.rows() / d;
  const auto sets = static_cast<Index>(bases.size());
  M block(d, w.cols());
  for (Index h = 0; h < heads; ++h) {
    for (Index i = 0; i < d; ++i) {
      for (Index j = 0; j < w.cols(); ++j) {
        block(i, j) = static_cast<double>(static_cast<accumulation_t<T>>(w(h * d + i, j)));
      }
    }
    const M& basis = bases[static_cast<std::size_t>(parameter_set(h, heads, sets))];
    const M turned = basis.transpose() * block;
    for (Index i = 0; i < d; ++i) {
      for (Index j = 0; j < w.cols(); ++j) {
        w(h * d + i, j) = narrow<T>(static_cast<accumulation_t<T>>(turned(i, j)));
      }
    }
  }
}

}  // namespace detail

/// Absorbs the frame of a generator into the projections of queries and keys, so that inference
/// pays nothing for it: with B = [F | rest] an orthonormal basis of R^d,
///
///   q^T G(n)^T G(l) k = (B^T q)^T R(n)^T R(l) (B^T k),   G(n) = I + F (a R(n) - I) F^T,
///
/// so that with W <- B^T W for every head a stock RoPE kernel with the generator's own frequencies
/// (one list for each parameter set) computes the same logits. Values are not touched.
///
/// w_q and w_k are Eigen matrices [heads * d, model_dim] (rows are outputs, q = W x) of any element
/// type, each with its own number of heads; both are overwritten, computed in double and rounded
/// (half and bfloat16 by way of float). Biases are columns: fold them along in a second call as
/// [heads * d, 1]. Returns the coordinate planes to rotate with from now on: RoPE<T, pairing>
/// rope(fold<pairing>(..)), the first 2 M coordinates of a head turning. It holds on any path:
/// frames do not depend on tokens.
///
/// Throws ArgumentError, before anything is written, for rows that are no multiple of d, heads that
/// the parameter sets do not divide, for w_k that shares elements with w_q, and for
/// QkNorm::per_channel_gain, which a folded frame would get wrong.
template <Pairing pairing = Pairing::interleaved, FrameGenerator G, class WQ, class WK>
CanonicalPlanes<typename G::Scalar, pairing> fold(const G& generator, QkNorm norm, WQ&& w_q,
                                                  WK&& w_k) {
  const auto& planes = generator.plane_frame();
  detail::check_norm(norm);
  detail::check_projection(planes, w_q, "w_q");
  detail::check_projection(planes, w_k, "w_k");
  if constexpr (detail::StridedMatrix<WQ> && detail::StridedMatrix<WK>) {
    if (detail::share_elements(detail::elements_of(w_q), detail::elements_of(w_k))) {
      detail::fail("w_k", "elements of w_q", "a matrix of its own");
    }
  }
  std::vector<FrameMatrix> bases;
  for (Index set = 0; set < planes.sets(); ++set) {
    bases.push_back(detail::folding_basis(planes, set, pairing));
  }
  detail::fold_rows(bases, w_q);
  detail::fold_rows(bases, w_k);
  return CanonicalPlanes<typename G::Scalar, pairing>(planes.spectrum());
}

}  // namespace grape::inline v0
