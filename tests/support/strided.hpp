// SPDX-License-Identifier: Apache-2.0
// Tensors in every layout that users have, with guards in the memory around and between them.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "grape/core/view.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

// What rounding to T costs: a value x comes out as x (1 + unit) or within `least` of it.
template <class T>
struct Rounding;
template <>
struct Rounding<double> {
  static constexpr double unit = 0x1p-53, least = 0;
};
template <>
struct Rounding<float> {
  static constexpr double unit = 0x1p-24, least = 0x1p-150;
};
template <>
struct Rounding<Eigen::half> {
  static constexpr double unit = 0x1p-11, least = 0x1p-25;
};
template <>
struct Rounding<Eigen::bfloat16> {
  static constexpr double unit = 0x1p-8, least = 0x1p-134;
};

using ElementTypes = testing::Types<float, double, Eigen::half, Eigen::bfloat16>;

struct Layout {
  std::string name;
  std::array<grape::Index, 4> extents;
  std::array<grape::Index, 4> strides;
  grape::Index offset;  // of the first element
};

// Layouts of a rank-4 array [n0, n1, n2, n3] (for tensors: batch, seq, heads, dim).
inline std::vector<Layout> layouts(grape::Index n0, grape::Index n1, grape::Index n2,
                                   grape::Index n3) {
  const std::array<grape::Index, 4> e{n0, n1, n2, n3};
  std::vector<Layout> out;
  // Dense in an order of axes (outermost first), the innermost with a step.
  const auto add = [&](const std::string& name, std::array<std::size_t, 4> order, grape::Index step,
                       grape::Index pad, grape::Index offset) {
    std::array<grape::Index, 4> strides{};
    grape::Index stride = step;
    for (std::size_t i = 4; i-- > 0;) {
      strides[order[i]] = stride;
      stride = stride * e[order[i]] + pad;
    }
    out.push_back({name, e, strides, offset});
  };
  add("dense", {0, 1, 2, 3}, 1, 0, 0);
  add("axes 1 and 2 swapped (bhld)", {0, 2, 1, 3}, 1, 0, 0);
  add("padded", {0, 1, 2, 3}, 1, 3, 0);
  add("not aligned for vectors", {0, 1, 2, 3}, 1, 0, 1);
  add("step 2", {0, 1, 2, 3}, 2, 0, 0);
  add("step 3, swapped, offset", {0, 2, 1, 3}, 3, 5, 7);
  add("heads outermost", {2, 0, 1, 3}, 1, 0, 0);
  add("last axis outermost", {3, 0, 1, 2}, 1, 0, 0);
  add("sequence outermost", {1, 0, 2, 3}, 1, 0, 0);
  // The middle of a fused buffer [n0, n1, 3, n2, n3].
  out.push_back({"fused", e, {n1 * 3 * n2 * n3, 3 * n2 * n3, n3, 1}, n2 * n3});
  return out;
}

// A tensor of that layout in memory of its own, and random numbers in every element of the memory.
template <class T>
class Strided {
 public:
  using Accumulator = grape::accumulation_t<T>;

  Strided(Layout layout, Random& random, double size = 1) : layout_(std::move(layout)) {
    grape::Index count = layout_.offset + 1;
    for (std::size_t a = 0; a < 4; ++a) {
      count += std::max<grape::Index>(layout_.extents[a] - 1, 0) * layout_.strides[a];
    }
    for (grape::Index i = 0; i < count + 5; ++i) {
      memory_.push_back(static_cast<T>(static_cast<Accumulator>(random.uniform(-size, size))));
    }
  }

  const Layout& layout() const { return layout_; }
  std::vector<T>& memory() { return memory_; }
  T* data() { return memory_.data() + layout_.offset; }
  reference::Shape shape() const {
    return {layout_.extents[0], layout_.extents[1], layout_.extents[2], layout_.extents[3]};
  }

  grape::TensorView<T> tensor() { return {data(), layout_.extents, layout_.strides}; }
  grape::ScoreView<T> scores() { return {data(), layout_.extents, layout_.strides}; }

  // The elements in order of their indices, as double (exact).
  std::vector<double> values() {
    std::vector<double> out;
    for_each([&](std::size_t at) {
      out.push_back(static_cast<double>(static_cast<Accumulator>(memory_[at])));
    });
    return out;
  }

  // Whether the memory outside of the tensor holds the same bits as `before`.
  bool same_outside(const std::vector<T>& before) {
    std::vector<bool> inside(memory_.size(), false);
    for_each([&](std::size_t at) { inside[at] = true; });
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if (!inside[i] && std::memcmp(&memory_[i], &before[i], sizeof(T)) != 0) return false;
    }
    return true;
  }

  template <class F>
  void for_each(F&& visit) const {
    const auto& e = layout_.extents;
    const auto& s = layout_.strides;
    for (grape::Index i = 0; i < e[0]; ++i) {
      for (grape::Index j = 0; j < e[1]; ++j) {
        for (grape::Index k = 0; k < e[2]; ++k) {
          for (grape::Index l = 0; l < e[3]; ++l) {
            visit(static_cast<std::size_t>(layout_.offset + i * s[0] + j * s[1] + k * s[2] +
                                           l * s[3]));
          }
        }
      }
    }
  }

 private:
  Layout layout_;
  std::vector<T> memory_;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}
