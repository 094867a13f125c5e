// SPDX-License-Identifier: Apache-2.0
//
// A tensor class of one's own. Four members (extent, stride, is_strided, data_handle) and two names
// (rank, reference) make it what grape::tensor_view takes: the shape of std::mdspan. Slices and
// permutations of it are views too, so a fused projection is rotated where it lies.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <grape/grape.hpp>
#include <grape/interop/mdspan.hpp>
#include <iostream>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

namespace mine {

/// Somebody's tensor: shared memory, an offset, extents and strides.
template <class T, std::size_t Rank>
class Tensor {
 public:
  using Sizes = std::array<std::size_t, Rank>;

  explicit Tensor(const Sizes& extents) : extents_(extents) {
    std::size_t count = 1;
    for (std::size_t r = Rank; r-- > 0; count *= extents[r]) strides_[r] = count;
    memory_ = std::make_shared<std::vector<T>>(count);
  }

  /// [begin, begin + count) of an axis.
  Tensor slice(std::size_t axis, std::size_t begin, std::size_t count) const {
    Tensor out = *this;
    out.offset_ += begin * strides_[axis];
    out.extents_[axis] = count;
    return out;
  }
  Tensor transposed(std::size_t a, std::size_t b) const {
    Tensor out = *this;
    std::swap(out.extents_[a], out.extents_[b]);
    std::swap(out.strides_[a], out.strides_[b]);
    return out;
  }
  std::vector<T>& memory() const { return *memory_; }

  // What grape asks for.
  using reference = T&;
  static constexpr std::size_t rank() { return Rank; }
  std::size_t extent(std::size_t r) const { return extents_[r]; }
  std::size_t stride(std::size_t r) const { return strides_[r]; }
  static constexpr bool is_strided() { return true; }
  T* data_handle() const { return memory_->data() + offset_; }

 private:
  Sizes extents_{}, strides_{};
  std::size_t offset_ = 0;
  std::shared_ptr<std::vector<T>> memory_;
};

static_assert(grape::Mdspan<Tensor<float, 4>>);

}  // namespace mine

int main() {
  // [batch, seq, q | k | v and heads, dim], as one fused projection writes it.
  constexpr std::size_t batch = 2, seq = 3, heads = 2, dim = 8;
  const mine::Tensor<float, 4> fused({batch, seq, 3 * heads, dim});
  std::iota(fused.memory().begin(), fused.memory().end(), 0.0F);
  const std::vector<float> before = fused.memory();

  const auto q = grape::tensor_view(fused.slice(2, 0, heads));
  const auto k = grape::tensor_view(fused.slice(2, heads, heads));
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(dim));
  const auto action = rope.at(grape::Positions::range(0, seq));
  grape::apply_rotation(action, q, k);

  std::size_t changed = 0, values_changed = 0;
  const auto v = fused.slice(2, 2 * heads, heads);
  for (std::size_t i = 0; i < before.size(); ++i) {
    changed += fused.memory()[i] != before[i] ? 1U : 0U;
    const bool is_value = i / dim % (3 * heads) >= 2 * heads;
    values_changed += is_value && fused.memory()[i] != before[i] ? 1U : 0U;
  }
  std::cout << "rotated in place: " << changed << " of " << before.size() << " numbers changed, "
            << values_changed << " of them in the values\n";

  // [batch, heads, seq, dim] is the same memory with two axes exchanged: say so to grape, and
  // turning back gives the numbers that were there.
  for (const std::size_t first : {std::size_t{0}, heads}) {
    const auto exchanged = fused.slice(2, first, heads).transposed(1, 2);
    grape::apply_inverse_rotation(action, grape::tensor_view(exchanged, grape::TensorAxes::bhld()));
  }
  float difference = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    difference = std::max(difference, std::abs(fused.memory()[i] - before[i]));
  }
  std::cout << "turned back through the other layout: largest difference " << difference
            << " of numbers up to " << before.back() << '\n';
  return values_changed == 0 && difference < 1e-4F && v.extent(2) == heads ? 0 : 1;
}
