// SPDX-License-Identifier: Apache-2.0
#include "grape/core/executor.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "support/executors.hpp"

namespace {

struct NotConst {
  template <class Task>
  void run(grape::Index, Task&&) {}
};
struct ReturnsSomething {
  template <class Task>
  int run(grape::Index, Task&&) const {
    return 0;
  }
};
static_assert(grape::Executor<grape::Serial>);
static_assert(!grape::Executor<int> && !grape::Executor<NotConst>);
static_assert(!grape::Executor<ReturnsSomething>);

TEST(Executor, SerialRunsEachTaskOnceInOrder) {
  std::vector<grape::Index> seen;
  grape::Serial{}.run(5, [&](grape::Index i) { seen.push_back(i); });
  EXPECT_EQ(seen, (std::vector<grape::Index>{0, 1, 2, 3, 4}));
  grape::Serial{}.run(0, [](grape::Index) { FAIL(); });
}

TEST(Executor, ThoseOfTheTestsRunEachTaskOnce) {
  for (const grape::Index count : {0, 1, 2, 3, 17}) {
    std::vector<std::atomic<int>> threads(static_cast<std::size_t>(count));
    Threads{}.run(count, [&](grape::Index i) { ++threads[static_cast<std::size_t>(i)]; });
    for (const auto& n : threads) EXPECT_EQ(n, 1);
    std::vector<grape::Index> seen;
    Reversed{}.run(count, [&](grape::Index i) { seen.push_back(i); });
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(count));
    EXPECT_TRUE(std::is_sorted(seen.rbegin(), seen.rend()));
  }
}

}  // namespace
