// SPDX-License-Identifier: Apache-2.0
// Checks of grape's errors: the text must name the argument, what it got and what was wanted.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "grape/core/error.hpp"

// EXPECT_TRUE(rejects([&] { grape::alibi_slopes(0); }, "heads", "0", ">= 1"));
template <class F>
testing::AssertionResult rejects(F&& call, std::string_view argument, std::string_view got,
                                 std::string_view wanted) {
  try {
    call();
  } catch (const grape::ArgumentError& error) {
    const std::string text = error.what();
    const std::size_t got_at = text.find(": got "), wanted_at = text.find(", wanted ");
    if (text.rfind("grape: ", 0) != 0 || got_at == std::string::npos ||
        wanted_at == std::string::npos) {
      return testing::AssertionFailure() << "no error of the usual form: " << text;
    }
    const std::string_view view = text;
    const std::string_view names[] = {
        view.substr(0, got_at), view.substr(got_at, wanted_at - got_at), view.substr(wanted_at)};
    const std::string_view expected[] = {argument, got, wanted};
    for (int i = 0; i < 3; ++i) {
      if (names[i].find(expected[i]) == std::string_view::npos) {
        return testing::AssertionFailure() << "'" << expected[i] << "' is missing in: " << text;
      }
    }
    return testing::AssertionSuccess();
  } catch (const std::exception& error) {
    return testing::AssertionFailure() << "another exception: " << error.what();
  }
  return testing::AssertionFailure() << "nothing was thrown";
}
