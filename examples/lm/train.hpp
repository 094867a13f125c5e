// SPDX-License-Identifier: Apache-2.0
// Data-parallel training and evaluation. A batch is cut into micro-batches whose number does not
// depend on the number of threads; each has its own gradient, and they are summed in order. So the
// outcome for a seed is the same, bit for bit, with any number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numbers>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "model.hpp"
#include "optimizer.hpp"

namespace lm {

struct TrainingPlan {
  Index steps = 800;
  Index length = 128;  // of a sequence
  Index batch = 12;    // sequences a step
  double rate = 6e-3;
  std::uint64_t seed = 1;
  int threads = 2;
};

/// Calls task(i, worker) for i in [0, count), each worker being one thread.
template <class Task>
void parallel_for(int threads, Index count, const Task& task) {
  std::atomic<Index> next{0};
  const auto work = [&](int worker) {
    for (Index i = next++; i < count; i = next++) task(i, worker);
  };
  std::vector<std::thread> others;
  for (int worker = 1; worker < threads; ++worker) others.emplace_back(work, worker);
  work(0);
  for (auto& other : others) other.join();
}

template <class Scalar>
class Trainer {
 public:
  Trainer(const ModelShape& shape, const TrainingPlan& plan)
      : plan_(plan),
        workers_(make_workers(shape, plan.threads)),
        parameters_(initial_parameters<Scalar>(layout(), plan.seed)),
        optimizer_(layout()),
        order_(plan.seed),
        gradients_(static_cast<std::size_t>(std::min(kMicroBatches, plan.batch))) {}

  const ParameterLayout& layout() const { return workers_.front()->layout(); }
  const Vector<Scalar>& parameters() const { return parameters_; }
  Model<Scalar>& model() { return *workers_.front(); }

  /// Trains on the next windows at random places of the text; returns their mean loss in nats.
  double step(std::span<const Byte> text) {
    const std::vector<Byte> windows = draw(text);
    const Index parts = static_cast<Index>(gradients_.size());
    const auto weight = static_cast<Scalar>(1.0 / static_cast<double>(plan_.batch * plan_.length));
    std::vector<double> sums(gradients_.size());
    parallel_for(plan_.threads, parts, [&](Index part, int worker) {
      const auto p = static_cast<std::size_t>(part);
      const Index begin = part * plan_.batch / parts, end = (part + 1) * plan_.batch / parts;
      const auto width = static_cast<std::size_t>(plan_.length + 1);
      auto& model = *workers_[static_cast<std::size_t>(worker)];
      const auto mine = std::span(windows).subspan(static_cast<std::size_t>(begin) * width,
                                                   static_cast<std::size_t>(end - begin) * width);
      sums[p] = static_cast<double>(model.losses(parameters_, mine, end - begin).sum());
      gradients_[p].setZero(parameters_.size());
      model.backward(parameters_, weight, gradients_[p]);
    });
    sum_gradients();
    optimizer_.step(parameters_, gradients_[0], scheduled_rate(plan_.rate, step_++, plan_.steps));
    double sum = 0;
    for (const double part : sums) sum += part;
    return sum * static_cast<double>(weight);
  }

  /// Mean loss in nats at each place 0 .. length - 1 of windows of `tokens` bytes in all, spread
  /// evenly over the text.
  std::vector<double> evaluate(std::span<const Byte> text, Index length, Index tokens) {
    const Index available = (static_cast<Index>(text.size()) - 1) / length;
    const Index count = std::clamp<Index>(tokens / length, 1, available);
    std::vector<Vector<Scalar>> losses(static_cast<std::size_t>(count));
    parallel_for(plan_.threads, count, [&](Index i, int worker) {
      const auto window =
          text.subspan(static_cast<std::size_t>(i * length), static_cast<std::size_t>(length + 1));
      losses[static_cast<std::size_t>(i)] =
          workers_[static_cast<std::size_t>(worker)]->losses(parameters_, window, 1);
    });
    std::vector<double> mean(static_cast<std::size_t>(length), 0.0);
    for (const auto& window : losses) {
      for (std::size_t t = 0; t < mean.size(); ++t) {
        mean[t] += static_cast<double>(window(static_cast<Index>(t))) / static_cast<double>(count);
      }
    }
    return mean;
  }

 private:
  static constexpr Index kMicroBatches = 8;

  static std::vector<std::unique_ptr<Model<Scalar>>> make_workers(const ModelShape& shape,
                                                                  int threads) {
    std::vector<std::unique_ptr<Model<Scalar>>> workers;
    for (int i = 0; i < threads; ++i) workers.push_back(std::make_unique<Model<Scalar>>(shape));
    return workers;
  }

  std::vector<Byte> draw(std::span<const Byte> text) {
    const auto width = static_cast<std::size_t>(plan_.length + 1);
    std::vector<Byte> windows;
    windows.reserve(static_cast<std::size_t>(plan_.batch) * width);
    for (Index i = 0; i < plan_.batch; ++i) {
      const auto window = text.subspan(order_() % (text.size() - width + 1), width);
      windows.insert(windows.end(), window.begin(), window.end());
    }
    return windows;
  }

  /// Into the first, the threads sharing the parameters.
  void sum_gradients() {
    const Index size = parameters_.size(), chunk = Index{1} << 14;
    parallel_for(plan_.threads, (size + chunk - 1) / chunk, [&](Index i, int) {
      const Index begin = i * chunk, count = std::min(chunk, size - begin);
      for (std::size_t part = 1; part < gradients_.size(); ++part) {
        gradients_[0].segment(begin, count) += gradients_[part].segment(begin, count);
      }
    });
  }

  TrainingPlan plan_;
  std::vector<std::unique_ptr<Model<Scalar>>> workers_;
  Vector<Scalar> parameters_;
  AdamW<Scalar> optimizer_;
  std::mt19937_64 order_;
  std::vector<Vector<Scalar>> gradients_;
  Index step_ = 0;
};

}  // namespace lm
