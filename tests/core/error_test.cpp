// SPDX-License-Identifier: Apache-2.0
#include "grape/core/error.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

static_assert(std::is_base_of_v<std::invalid_argument, grape::ArgumentError>);

TEST(Error, TextNamesArgumentGotAndWanted) {
  try {
    grape::detail::fail("heads", "3", "a multiple of 2");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "grape: heads: got 3, wanted a multiple of 2");
  }
}

TEST(Error, TextWritesNumbersOut) {
  EXPECT_EQ(grape::detail::text("a", 1, "b", std::string("c"), std::int64_t{-7}), "a1bc-7");
  EXPECT_EQ(grape::detail::text(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(grape::detail::text(0.5), "0.5");
  EXPECT_EQ(grape::detail::text(std::numeric_limits<double>::infinity()), "inf");
  // Every bit of a double survives.
  EXPECT_EQ(std::stod(grape::detail::text(0.1)), 0.1);
  EXPECT_EQ(std::stod(grape::detail::text(1e300)), 1e300);
}

TEST(Error, HandlerIsReplacedAndRestored) {
  const grape::ErrorHandler mine = [](const char*) {};
  const grape::ErrorHandler standard = grape::set_error_handler(mine);
  EXPECT_NE(standard, nullptr);
  EXPECT_EQ(grape::set_error_handler(nullptr), mine);
  EXPECT_EQ(grape::set_error_handler(standard), standard);
}

TEST(Error, TheTestHelperTellsTheParts) {
  const auto fail = [] { grape::detail::fail("heads", "3", "a multiple of 2"); };
  EXPECT_TRUE(rejects(fail, "heads", "3", "multiple"));
  EXPECT_FALSE(rejects(fail, "keys", "3", "multiple"));
  EXPECT_FALSE(rejects(fail, "heads", "4", "multiple"));
  EXPECT_FALSE(rejects(fail, "heads", "3", "divisor"));
  EXPECT_FALSE(rejects([] {}, "heads", "3", "multiple"));
}

}  // namespace
