// SPDX-License-Identifier: Apache-2.0
// Re-preparing an action allocates nothing where its storage suffices: operator new is counted in
// this executable.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "grape/apply/bias.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace {
thread_local long allocations = 0;
// What is larger fails, as if memory had run out.
constexpr std::size_t kMemory = std::size_t{1} << 40;

void* counted(std::size_t size) {
  ++allocations;
  if (size > kMemory) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void* counted(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  if (size > kMemory) throw std::bad_alloc();
  const auto step = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(step, (size + step - 1) / step * step)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted(size, alignment);
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using grape::Index;
using grape::Positions;

template <class F>
long allocations_of(F&& f) {
  const long before = allocations;
  f();
  return allocations - before;
}

TEST(Reprepare, TheCounterCounts) {
  std::vector<int> grown;
  EXPECT_EQ(allocations_of([&] { grown.resize(10); }), 1);
  EXPECT_EQ(allocations_of([&] { grown.resize(5); }), 0);
}

template <class A>
class ReprepareOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(ReprepareOf, Accumulators);

TYPED_TEST(ReprepareOf, RotationsAllocateOnlyToGrow) {
  const grape::RoPE<TypeParam> rope(grape::spectrum::log_uniform(128, 10000.0));
  for (const Index count : {1, 100, 4096}) {
    auto action = rope.at(Positions::range(0, count));
    EXPECT_EQ(allocations_of([&] { rope.at(Positions::range(1000, count), action); }), 0) << count;
    EXPECT_EQ(allocations_of([&] { rope.at(Positions::range(7, (count + 1) / 2), action); }), 0)
        << count;
    EXPECT_EQ(action.seq(), (count + 1) / 2);
    EXPECT_NEAR(action.element(0, 0, 0, 0).sin, std::sin(7.0), 1e-7);
    EXPECT_EQ(allocations_of([&] { rope.at(Positions::range(0, count), action); }), 0) << count;
  }
  using Vector = Eigen::Matrix<TypeParam, Eigen::Dynamic, 1>;
  const grape::Rank2RoPE<TypeParam> plane(Vector::Unit(6, 0), Vector::Unit(6, 3));
  auto turned = plane.at(Positions::range(0, 9));
  EXPECT_EQ(allocations_of([&] { plane.at(Positions::range(5, 9), turned); }), 0);
  const std::vector<std::int64_t> list(60, 9);
  auto action = rope.at(Positions::per_token(list, 3, 20));
  EXPECT_EQ(allocations_of([&] { rope.at(Positions::per_token(list, 2, 30), action); }), 0);
  EXPECT_EQ(allocations_of([&] { rope.at(Positions::shared(list), action); }), 0);
}

TYPED_TEST(ReprepareOf, ADecodeStepOfRotationsAllocatesNothing) {
  const grape::RoPE<TypeParam> rope(grape::spectrum::log_uniform(128, 10000.0));
  auto action = rope.at(Positions::range(0, 1));
  std::vector<TypeParam> q(32 * 128, TypeParam(1)), k(8 * 128, TypeParam(1));
  const auto queries = grape::blhd(q.data(), 1, 1, 32, 128);
  const auto keys = grape::blhd(k.data(), 1, 1, 8, 128);
  for (int n = 1; n < 5; ++n) {
    EXPECT_EQ(allocations_of([&] {
                rope.at(Positions::range(4095 + n, 1), action);
                grape::apply_rotation(action, queries, keys);
                grape::apply_inverse_rotation(action, keys);
              }),
              0);
  }
}

TYPED_TEST(ReprepareOf, AnActionSurvivesWantOfMemory) {
  const grape::RoPE<TypeParam> rope(grape::spectrum::log_uniform(128, 10000.0));
  auto action = rope.at(Positions::range(7, 3));
  EXPECT_THROW(rope.at(Positions::range(0, Index{1} << 44), action), std::bad_alloc);
  EXPECT_EQ(action.seq(), 3);
  EXPECT_NEAR(action.element(0, 2, 0, 0).sin, std::sin(9.0), 1e-7);
  EXPECT_EQ(action.position(0, 0), 7.0);
}

TYPED_TEST(ReprepareOf, BiasesAllocateOnlyToGrow) {
  const grape::ALiBi<TypeParam> alibi(8);
  auto bias = alibi.at(Positions::range(0, 4), Positions::range(0, 200));
  EXPECT_EQ(allocations_of([&] {
              alibi.at(Positions::range(100, 3), Positions::range(0, 150), grape::Future::zero,
                       bias);
            }),
            0);
  EXPECT_EQ(bias.queries(), 3);
  EXPECT_EQ(bias(0, 7, 0, 0), TypeParam(-100 * 0x1p-8));
  std::vector<TypeParam> scores(8 * 3 * 150);
  const auto view = grape::bhqk(scores.data(), 1, 8, 3, 150);
  EXPECT_EQ(allocations_of([&] { grape::add_bias(bias, view); }), 0);

  const grape::GridALiBi<TypeParam> grid(std::vector<double>{1, 2},
                                         grape::GridPath::distances({1, 2}));
  const std::vector<std::int64_t> list(60, 3);
  auto on_grid = grid.at(Positions::axes(std::span(list).first(20), 2, 1, 10),
                         Positions::axes(list, 2, 1, 30));
  std::vector<TypeParam> more(2 * 5 * 20);
  EXPECT_EQ(allocations_of([&] {
              grid.at(Positions::axes(std::span(list).first(10), 2, 1, 5),
                      Positions::axes(std::span(list).first(40), 2, 1, 20), on_grid);
              grape::add_bias(on_grid, grape::bhqk(more.data(), 1, 2, 5, 20));
            }),
            0);
  EXPECT_EQ(on_grid.keys(), 20);

  using grape::Gate;
  const grape::GatedALiBi<TypeParam, Gate::both> gated(
      std::vector<double>{1.0, 2.0},
      grape::GatedPath<Gate::both>(
          {.query_weights = {1, 2, 3, 4}, .key_weights = {1, 2, 3, 4}, .omega = {0.5, 0.25}}));
  const std::vector<TypeParam> features(30 * 2 * 2, TypeParam(0.5));
  const auto tokens = [&](Index count) { return grape::blhd(features.data(), 1, count, 2, 2); };
  auto by_content =
      gated.at(tokens(9), tokens(30), Positions::range(21, 9), Positions::range(0, 30));
  EXPECT_EQ(allocations_of([&] {
              gated.at(tokens(4), tokens(28), Positions::range(24, 4), Positions::range(0, 28),
                       by_content);
              grape::add_bias(by_content, grape::bhqk(scores.data(), 1, 2, 4, 28));
            }),
            0);
  EXPECT_EQ(by_content.keys(), 28);

  // A copy keeps what it had: then the source may not be reused.
  const auto copy = bias;
  EXPECT_GT(allocations_of([&] { alibi.at(Positions::range(0, 2), Positions::range(0, 2), bias); }),
            0);
  EXPECT_EQ(copy.queries(), 3);
  EXPECT_EQ(copy(0, 7, 0, 0), TypeParam(-100 * 0x1p-8));
  EXPECT_EQ(bias.queries(), 2);
}

}  // namespace
