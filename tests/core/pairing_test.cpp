// SPDX-License-Identifier: Apache-2.0
#include "grape/core/pairing.hpp"

#include <gtest/gtest.h>

#include <set>

namespace {

using grape::Index;
using grape::Pairing;

TEST(Pairing, CoordinatesAreThoseOfTheDefinition) {
  for (Index planes = 1; planes <= 9; ++planes) {
    std::set<Index> seen[2];
    for (Index m = 0; m < planes; ++m) {
      const auto a = grape::plane_coordinates(Pairing::interleaved, m, planes);
      EXPECT_EQ(a.first, 2 * m);
      EXPECT_EQ(a.second, 2 * m + 1);
      const auto b = grape::plane_coordinates(Pairing::half_split, m, planes);
      EXPECT_EQ(b.first, m);
      EXPECT_EQ(b.second, m + planes);
      seen[0].insert({a.first, a.second});
      seen[1].insert({b.first, b.second});
    }
    for (const auto& coordinates : seen) {
      EXPECT_EQ(coordinates.size(), static_cast<std::size_t>(2 * planes));
      EXPECT_EQ(*coordinates.rbegin(), 2 * planes - 1);
    }
  }
}

TEST(Pairing, PermutationTakesEachPlaneToItself) {
  constexpr Pairing kBoth[] = {Pairing::interleaved, Pairing::half_split};
  for (Index planes = 1; planes <= 9; ++planes) {
    for (const Pairing from : kBoth) {
      for (const Pairing to : kBoth) {
        for (Index m = 0; m < planes; ++m) {
          const auto a = grape::plane_coordinates(from, m, planes);
          const auto b = grape::plane_coordinates(to, m, planes);
          EXPECT_EQ(grape::permuted_coordinate(a.first, planes, from, to), b.first);
          EXPECT_EQ(grape::permuted_coordinate(a.second, planes, from, to), b.second);
        }
      }
    }
  }
  static_assert(grape::permuted_coordinate(3, 2, Pairing::interleaved, Pairing::half_split) == 3);
  static_assert(grape::permuted_coordinate(1, 2, Pairing::interleaved, Pairing::half_split) == 2);
}

template <Pairing pairing>
constexpr Pairing kGiven = pairing;

struct Once {
  template <class P>
  int operator()(P) && {
    return 7;
  }
};

TEST(Pairing, IsVisitedAsATemplateArgument) {
  const auto given = [](auto p) { return kGiven<p>; };
  static_assert(grape::visit_pairing(Pairing::interleaved, given) == Pairing::interleaved);
  static_assert(grape::visit_pairing(Pairing::half_split, given) == Pairing::half_split);
  // One call, by reference where f returns one, and of an f that can be called once alone.
  int calls[2] = {};
  int& counted = grape::visit_pairing(
      Pairing::half_split, [&](auto p) -> int& { return ++calls[p == Pairing::half_split]; });
  EXPECT_EQ(&counted, &calls[1]);
  EXPECT_EQ(calls[0], 0);
  EXPECT_EQ(calls[1], 1);
  EXPECT_EQ(grape::visit_pairing(Pairing::interleaved, Once{}), 7);
}

}  // namespace
