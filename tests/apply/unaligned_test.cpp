// SPDX-License-Identifier: Apache-2.0
// Tensors need the alignment of their elements and no more: data that starts beside every vector
// boundary gives the same bits.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grape/apply/bias.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/random.hpp"

namespace {

using grape::Index;
using grape::Pairing;
using grape::Positions;

// A copy of x that starts `by` elements behind a boundary of 64 bytes.
template <class T>
class Shifted {
 public:
  Shifted(const std::vector<T>& x, std::size_t by) : memory_(x.size() + by + 64 / sizeof(T)) {
    while (reinterpret_cast<std::uintptr_t>(memory_.data() + first_) % 64 != by * sizeof(T)) {
      ++first_;
    }
    for (std::size_t i = 0; i < x.size(); ++i) data()[i] = x[i];
  }
  T* data() { return memory_.data() + first_; }

 private:
  std::vector<T> memory_;
  std::size_t first_ = 0;
};

template <class T>
std::vector<T> elements(Random& random, Index count) {
  std::vector<T> out;
  for (const double x : random.uniforms(count, -2, 2)) out.push_back(static_cast<T>(x));
  return out;
}

template <class T>
class Unaligned : public testing::Test {};
using Elements = testing::Types<float, double, Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(Unaligned, Elements);

// What apply(data) makes of x is the same wherever x begins.
template <class T, class Apply>
void expect_same_bits_anywhere(const std::vector<T>& x, const Apply& apply) {
  std::vector<T> wanted = x;
  apply(wanted.data());
  for (std::size_t by = 0; by < 64 / sizeof(T); ++by) {
    Shifted<T> y(x, by);
    apply(y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y.data()[i], wanted[i]) << by << " " << i;
  }
}

template <Pairing pairing, class T>
void rotations_agree(Random& random) {
  const Index seq = 5, heads = 3, dim = 70;
  const grape::RoPE<T, pairing> rope(grape::spectrum::log_uniform(66));
  const auto action = rope.at(Positions::range(random.integer(0, 1000), seq));
  expect_same_bits_anywhere(elements<T>(random, seq * heads * dim), [&](T* x) {
    grape::apply_rotation(action, grape::blhd(x, 1, seq, heads, dim));
  });
}

}  // namespace

TYPED_TEST(Unaligned, RotationsAgree) {
  Random random(71);
  rotations_agree<Pairing::interleaved, TypeParam>(random);
  rotations_agree<Pairing::half_split, TypeParam>(random);
}

TYPED_TEST(Unaligned, BiasesAgree) {
  using T = TypeParam;
  Random random(72);
  const Index heads = 2, queries = 3, keys = 67;
  const grape::ALiBi<T> alibi(heads);
  const auto bias = alibi.at(Positions::range(keys - queries, queries), Positions::range(0, keys));
  expect_same_bits_anywhere(elements<T>(random, heads * queries * keys), [&](T* x) {
    grape::add_bias(bias, grape::bhqk(x, 1, heads, queries, keys));
  });
}
