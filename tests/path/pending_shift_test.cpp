// SPDX-License-Identifier: Apache-2.0
#include "grape/path/pending_shift.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "support/errors.hpp"

namespace {

using grape::Index;
using grape::PendingShift;

std::vector<std::int64_t> all(const PendingShift& shift, Index axis = 0) {
  std::vector<std::int64_t> out;
  for (Index t = 0; t < shift.tokens(); ++t) out.push_back(shift.delta(t, axis));
  return out;
}

TEST(PendingShift, GrowsOnEveryAxisAndRefusesTheAbsurd) {
  grape::PendingShift shift(2, 3);
  for (grape::Index axis = 0; axis < 3; ++axis) shift.add(0, 2, 10 + axis, axis);
  shift.append(3);
  shift.append(0);
  for (grape::Index axis = 0; axis < 3; ++axis) {
    for (grape::Index t = 0; t < 5; ++t) {
      EXPECT_EQ(shift.delta(t, axis), t < 2 ? 10 + axis : 0) << t << " " << axis;
    }
  }
  constexpr auto kMost = (std::numeric_limits<grape::Index>::max)();
  for (const grape::Index count : {kMost, kMost / 2}) {
    EXPECT_TRUE(rejects([&] { shift.append(count); }, "count", grape::detail::text(count), "fits"));
  }
  EXPECT_EQ(shift.tokens(), 5);
}

TEST(PendingShift, AddsUp) {
  PendingShift shift(5);
  EXPECT_FALSE(shift.pending());
  shift.add(3);
  shift.add(1, 4, -5);
  EXPECT_EQ(all(shift), (std::vector<std::int64_t>{3, -2, -2, -2, 3}));
  EXPECT_TRUE(shift.pending());
  shift.add(2, 2, 100);
  shift.add(1, 4, 5);
  shift.add(-3);
  EXPECT_FALSE(shift.pending());
  shift.add(1);
  shift.clear();
  EXPECT_FALSE(shift.pending());
}

// Dropping tokens 1 and 2 of 5 and closing the gap, then two new tokens.
TEST(PendingShift, FollowsAPrunedCache) {
  PendingShift shift(5, 2);
  shift.add(7, 1);
  shift.add(4, 5, 1, 1);
  shift.erase(1, 3);
  shift.add(1, shift.tokens(), -2);
  shift.append(2);
  EXPECT_EQ(shift.tokens(), 5);
  EXPECT_EQ(all(shift, 0), (std::vector<std::int64_t>{0, -2, -2, 0, 0}));
  EXPECT_EQ(all(shift, 1), (std::vector<std::int64_t>{7, 7, 8, 0, 0}));
  const grape::Positions deltas = shift.deltas();
  EXPECT_EQ(deltas.axis_count(), 2);
  EXPECT_EQ(deltas.seq(), 5);
  EXPECT_EQ(deltas.integer(0, 2, 1), 8);
}

TEST(PendingShift, RejectsWhatIsOutOfRange) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  PendingShift shift(3);
  EXPECT_TRUE(rejects([] { PendingShift(-1); }, "tokens", "-1", ">= 0"));
  EXPECT_TRUE(rejects([] { PendingShift(1, 0); }, "axes", "0", ">= 1"));
  EXPECT_TRUE(
      rejects([] { PendingShift(grape::Index{1} << 62, 4); }, "axes", "4", "a list that fits"));
  EXPECT_TRUE(rejects([&] { shift.add(1, 4, 1); }, "tokens", "[1, 4)", "3 tokens"));
  EXPECT_TRUE(rejects([&] { shift.add(2, 1, 1); }, "tokens", "[2, 1)", "3 tokens"));
  EXPECT_TRUE(rejects([&] { shift.erase(-1, 1); }, "tokens", "[-1, 1)", "3 tokens"));
  EXPECT_TRUE(rejects([&] { shift.add(1, 1); }, "axis", "1", "[0, 1)"));
  EXPECT_TRUE(rejects([&] { shift.delta(3); }, "tokens", "[3, 4)", "3 tokens"));
  EXPECT_TRUE(rejects([&] { shift.append(-1); }, "count", "-1", ">= 0"));
  shift.add(1, 2, kMost);
  EXPECT_TRUE(rejects([&] { shift.add(1); }, "delta", "1", "64 bits"));
  EXPECT_EQ(all(shift), (std::vector<std::int64_t>{0, kMost, 0}));
  shift.add(-kMost);
  EXPECT_TRUE(rejects([&] { shift.add(-2); }, "delta", "-2", "64 bits"));
}

}  // namespace
