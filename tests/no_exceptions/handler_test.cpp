// SPDX-License-Identifier: Apache-2.0
// An executable of its own: GRAPE_NO_EXCEPTIONS must hold for all of a program.
#define GRAPE_NO_EXCEPTIONS
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "grape/grape.hpp"

namespace {

void rotate_too_few_positions() {
  float x[8] = {};
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(4, 10000.0));
  grape::apply_rotation(rope.at(grape::Positions::range(0, 1)), grape::blhd(x, 1, 2, 1, 4));
}

TEST(NoExceptionsDeathTest, TheDefaultHandlerPrintsAndAborts) {
  EXPECT_EXIT(rotate_too_few_positions(), testing::KilledBySignal(SIGABRT),
              "grape: x seq: got 2 tokens, wanted the 1 positions of the action");
}

TEST(NoExceptionsDeathTest, TheUsersHandlerIsCalledWithTheText) {
  grape::set_error_handler([](const char* text) {
    std::fprintf(stderr, "mine: %s\n", text);
    std::exit(7);
  });
  EXPECT_EXIT(rotate_too_few_positions(), testing::ExitedWithCode(7), "mine: grape: x seq");
  grape::set_error_handler(nullptr);
}

TEST(NoExceptionsDeathTest, AHandlerThatReturnsEndsInAbort) {
  grape::set_error_handler([](const char*) {});
  EXPECT_EXIT(rotate_too_few_positions(), testing::KilledBySignal(SIGABRT), "");
  grape::set_error_handler(nullptr);
}

}  // namespace
