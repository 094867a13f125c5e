// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/mdspan.hpp"

#include <gtest/gtest.h>

#include <version>

#include "support/errors.hpp"
#if defined(__cpp_lib_mdspan)
#include <mdspan>
#endif

namespace {

using grape::Index;
using grape::TensorAxes;
using grape::TensorView;

// What an mdspan of dynamic extents and strides offers, and no more.
template <class T, std::size_t Rank, class I = std::size_t>
class Span {
 public:
  using reference = T&;
  Span(T* data, std::array<I, Rank> extents, std::array<I, Rank> strides, bool strided = true)
      : data_(data), extents_(extents), strides_(strides), strided_(strided) {}
  static constexpr std::size_t rank() { return Rank; }
  I extent(std::size_t r) const { return extents_[r]; }
  I stride(std::size_t r) const { return strides_[r]; }
  bool is_strided() const { return strided_; }
  T* const& data_handle() const { return data_; }

 private:
  T* data_;
  std::array<I, Rank> extents_, strides_;
  bool strided_;
};

// An accessor that scales: what an access gives is not in the memory.
struct Scaled : Span<float, 4> {
  using reference = float;
};
static_assert(grape::Mdspan<Span<float, 4>>);
static_assert(!grape::Mdspan<Scaled>);
static_assert(!grape::Mdspan<std::vector<float>>);

TEST(Mdspan, IsAView) {
  std::vector<float> memory(400);
  const Span<float, 4> span(memory.data() + 3, {2, 3, 4, 5}, {150, 5, 37, 1});
  const auto view = grape::tensor_view(span);
  static_assert(std::same_as<decltype(view), const TensorView<float>>);
  EXPECT_EQ(&view(1, 2, 3, 4), memory.data() + 3 + 150 + 10 + 111 + 4);
  const auto turned = grape::tensor_view(span, TensorAxes::bhld());
  EXPECT_EQ(turned.heads(), 3);
  EXPECT_EQ(&turned(1, 3, 2, 4), &view(1, 2, 3, 4));

  const Span<const double, 3, int> flat(nullptr, {0, 4, 5}, {20, 5, 1});
  static_assert(std::same_as<decltype(grape::tensor_view(flat, TensorAxes::lhd())),
                             TensorView<const double>>);
  EXPECT_TRUE(grape::tensor_view(flat, TensorAxes::lhd()).empty());

  const Span<float, 4, std::int64_t> none(nullptr, {2, 0, 4, 5}, {-1, -20, -5, -1});
  EXPECT_TRUE(grape::tensor_view(none).empty());
  const Span<float, 0> scalar(memory.data() + 7, {}, {});
  EXPECT_EQ(grape::tensor_view(scalar, TensorAxes{-1, -1, -1, -1}).data(), memory.data() + 7);

  const auto scores = grape::score_view(span);
  EXPECT_EQ(scores.heads(), 3);
  EXPECT_EQ(&scores(1, 2, 3, 4), &view(1, 2, 3, 4));
}

TEST(Mdspan, ThatIsNoViewIsRefused) {
  std::vector<float> memory(400);
  const Span<float, 4> irregular(memory.data(), {2, 3, 4, 5}, {60, 20, 5, 1}, false);
  EXPECT_TRUE(rejects([&] { grape::tensor_view(irregular); }, "mdspan", "without", "strided"));
  const Span<float, 4> repeating(memory.data(), {2, 3, 4, 5}, {0, 20, 5, 1});
  EXPECT_TRUE(rejects([&] { grape::tensor_view(repeating); }, "tensor view", "overlap", "own"));
  const Span<const float, 4> read_only(memory.data(), {2, 3, 4, 5}, {0, 20, 5, 1});
  EXPECT_EQ(&grape::tensor_view(read_only)(1, 0, 0, 1), memory.data() + 1);
  const Span<float, 3> flat(memory.data(), {3, 4, 5}, {20, 5, 1});
  EXPECT_TRUE(rejects([&] { grape::tensor_view(flat); }, "mdspan axes", "axis 3", "3 axes"));
  const Span<float, 4, std::int64_t> backwards(memory.data() + 99, {1, 3, 4, 5}, {0, -20, 5, 1});
  EXPECT_TRUE(rejects([&] { grape::tensor_view(backwards); }, "stride 1", "-20", ">= 0"));
}

#if defined(__cpp_lib_mdspan)
TEST(Mdspan, OfTheStandardLibrary) {
  std::vector<float> memory(2 * 3 * 4 * 5);
  const std::mdspan right(memory.data(), 2, 3, 4, 5);
  EXPECT_EQ(&grape::tensor_view(right)(1, 2, 3, 4), &memory.back());
  const std::mdspan<float, std::dextents<int, 4>, std::layout_left> left(memory.data(), 5, 4, 3, 2);
  EXPECT_EQ(grape::tensor_view(left, TensorAxes::reversed()).stride(3), 1);
}
#endif

}  // namespace
