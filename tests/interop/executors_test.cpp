// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grape/attention/attend.hpp"
#include "grape/interop/openmp.hpp"
#include "grape/interop/thread_pool.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;

template <class E>
void expect_executor(const E& executor) {
  for (const Index count : {Index{0}, Index{1}, Index{3}, Index{1000}}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
    executor.run(count, [&](Index i) { ++calls[static_cast<std::size_t>(i)]; });
    for (const auto& n : calls) ASSERT_EQ(n.load(), 1);
  }
  // A task within a task.
  std::atomic<int> inner{0};
  executor.run(4, [&](Index) { executor.run(5, [&](Index) { ++inner; }); });
  EXPECT_EQ(inner.load(), 20);
  std::atomic<int> ran{0};
  EXPECT_THROW(executor.run(50,
                            [&](Index i) {
                              ++ran;
                              if (i % 7 == 3) throw std::runtime_error("task");
                            }),
               std::runtime_error);
  EXPECT_EQ(ran.load(), 50);
}

template <class E>
void expect_same_bits(const E& executor) {
  Random random(561);
  const auto draw = [&] {
    std::vector<float> x;
    for (int i = 0; i < 2 * 150 * 4 * 8; ++i)
      x.push_back(static_cast<float>(random.uniform(-1, 1)));
    return x;
  };
  std::vector<float> q = draw(), k = draw(), v = draw(), d = draw(), gates(2 * 150 * 4, -0.01f);
  const auto view = [](std::vector<float>& x) { return grape::blhd(x.data(), 2, 150, 4, 8); };
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0));
  const auto rotation = rope.at(grape::Positions::range(0, 150));
  const auto decay = grape::FoX<float>(4).at(grape::blh(gates.data(), 2, 150, 4));
  const auto run = [&](const auto& e) {
    std::vector<float> out(q.size()), d_q(q.size()), d_k(q.size()), d_v(q.size());
    std::vector<float> log_sum(2 * 4 * 150);
    std::vector<double> d_gates(gates.size()), d_theta(4);
    const grape::AttendOptions<float> options{
        .rotation = &rotation, .bias = &decay, .causal = true, .log_sum = log_sum};
    grape::attend(view(q), view(k), view(v), view(out), options, e);
    grape::attend_vjp({view(q), view(k), view(v), view(out)}, view(d),
                      {.q = view(d_q),
                       .k = view(d_k),
                       .v = view(d_v),
                       .bias = {.log_forget = d_gates},
                       .frequencies = d_theta},
                      options, e);
    out.insert(out.end(), d_q.begin(), d_q.end());
    out.insert(out.end(), d_k.begin(), d_k.end());
    out.insert(out.end(), d_v.begin(), d_v.end());
    return std::pair(out, std::pair(d_gates, d_theta));
  };
  const auto serial = run(grape::Serial{}), other = run(executor);
  EXPECT_TRUE(same_bits(serial.first, other.first));
  EXPECT_TRUE(same_bits(serial.second.first, other.second.first));
  EXPECT_TRUE(same_bits(serial.second.second, other.second.second));
}

TEST(OpenMPExecutor, RunsEveryTaskOnceAndAttentionToTheBit) {
  expect_executor(grape::OpenMP{});
  expect_executor(grape::OpenMP{3});
  expect_same_bits(grape::OpenMP{3});
}

// Eigen shares large products among OpenMP's threads unless it is kept from that, which shows in
// their roundings where sums are long. (Unoptimized that many sums take minutes.)
#if defined(__OPTIMIZE__)
constexpr Index kLongSums = 576;
#else
constexpr Index kLongSums = 96;
#endif
TEST(OpenMPExecutor, FramesLeaveThreadsToIt) {
  Random random(562);
  constexpr Index kDim = kLongSums, kSeq = 40;
  Eigen::MatrixXd reflectors(kDim, kDim);
  for (double& entry : reflectors.reshaped()) entry = random.uniform(-1, 1);
  const grape::FramedRoPE<float> rope(grape::frame::orthonormalized(reflectors),
                                      grape::spectrum::log_uniform(kDim));
  const auto action = rope.at(grape::Positions::range(0, kSeq));
  std::vector<float> x, d;
  for (Index i = 0; i < kSeq * 2 * kDim; ++i) {
    x.push_back(static_cast<float>(random.uniform(-1, 1)));
    d.push_back(static_cast<float>(random.uniform(-1, 1)));
  }
  const auto run = [&](const auto& executor) {
    std::vector<float> out = x;
    const auto view = grape::blhd(out.data(), 1, kSeq, 2, kDim);
    grape::apply_rotation(action, view, executor);
    std::vector<double> d_frame(static_cast<std::size_t>(kDim * kDim));
    grape::apply_rotation_frame_vjp(action, view, grape::blhd(d.data(), 1, kSeq, 2, kDim), d_frame,
                                    executor);
    return std::pair(out, d_frame);
  };
  Eigen::setNbThreads(1);
  const auto one = run(grape::Serial{});
  Eigen::setNbThreads(4);
  const auto four = run(grape::Serial{}), by_tasks = run(grape::OpenMP{3});
  Eigen::setNbThreads(0);
  EXPECT_TRUE(same_bits(one.first, four.first));
  EXPECT_TRUE(same_bits(one.second, four.second));
  EXPECT_TRUE(same_bits(one.first, by_tasks.first));
  EXPECT_TRUE(same_bits(one.second, by_tasks.second));
}

TEST(ThreadPoolExecutor, RunsEveryTaskOnceAndAttentionToTheBit) {
  for (const int threads : {1, 3}) {
    Eigen::ThreadPool pool(threads);
    expect_executor(grape::ThreadPool(pool));
    expect_same_bits(grape::ThreadPool(pool));
  }
}

// A pool that takes some helpers, which start late, and then is out of memory.
class FailingPool : public Eigen::ThreadPoolInterface {
 public:
  FailingPool(Eigen::ThreadPool& pool, int taken) : pool_(pool), left_(taken) {}
  void Schedule(std::function<void()> helper) override {
    if (left_-- == 0) throw std::runtime_error("schedule");
    pool_.Schedule([helper] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      helper();
    });
  }
  int NumThreads() const override { return pool_.NumThreads(); }
  int CurrentThreadId() const override { return pool_.CurrentThreadId(); }

 private:
  Eigen::ThreadPool& pool_;
  int left_;
};

TEST(ThreadPoolExecutor, WaitsForItsHelpersWhereScheduleThrows) {
  constexpr Index kTasks = 40;
  for (int taken = 0; taken < 3; ++taken) {
    Eigen::ThreadPool threads(3);
    FailingPool pool(threads, taken);
    std::vector<std::atomic<int>> calls(kTasks);
    std::string caught;
    try {
      grape::ThreadPool(pool).run(kTasks, [&](Index i) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        ++calls[static_cast<std::size_t>(i)];
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    EXPECT_EQ(caught, "schedule") << taken;
    // No helper is at work any more: all tasks are done, each once.
    for (const auto& n : calls) EXPECT_EQ(n.load(), 1) << taken;
  }
}

}  // namespace
