// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/bias_source.hpp"

namespace grape::inline v0 {
namespace detail {

/// A bias whose gradients are wanted (a part, where the bias is a sum), and where to.
template <class A>
struct BiasLeaf {
  const BiasAction<A>* bias;
  BiasGradients gradients;
};

/// The same for one task, with the scratch of a parameter head.
template <class A>
struct BiasTask {
  const BiasAction<A>* bias;
  BiasGradients gradients;
  std::vector<double> path;

  BiasTask(const BiasAction<A>& bias_, const BiasGradients& gradients_)
      : bias(&bias_),
        gradients(gradients_),
        path(static_cast<std::size_t>(bias_.gradient_sizes().path), 0.0) {
    gradients.path = path;
  }
  /// After the last query of a head.
  void finish(Index b, Index head, Index heads) {
    const Index width = heads / bias->heads();
    if ((head + 1) % width != 0) return;
    bias->finish_vjp(bias->batch() == 1 ? 0 : b, head / width, gradients);
    std::fill(path.begin(), path.end(), 0.0);
  }
};

/// A span of gradients for each batch entry where entries share a bias and would write to one: the
/// copies are added up in the order of the batch.
class GradientCopies {
 public:
  GradientCopies(std::span<double> shared, Index copies, bool needed)
      : shared_(shared),
        memory_(needed ? static_cast<std::size_t>(copies) * shared.size() : 0, 0.0) {}

  std::span<double> of(Index copy) {
    if (memory_.empty()) return shared_;
    return std::span<double>(memory_).subspan(static_cast<std::size_t>(copy) * shared_.size(),
                                              shared_.size());
  }
  void add_up() {
    for (std::size_t i = 0; i < memory_.size(); ++i) shared_[i % shared_.size()] += memory_[i];
  }

 private:
  std::span<double> shared_;
  std::vector<double> memory_;
};

/// BiasGradients of each batch entry.
class BatchGradients {
 public:
  BatchGradients(const BiasGradients& g, Index bias_batch, Index batch)
      : slopes_(g.slopes, batch, batch > 1),
        log_forget_(g.log_forget, batch, bias_batch == 1 && batch > 1),
        query_gates_(g.query_gates, batch, bias_batch == 1 && batch > 1),
        key_gates_(g.key_gates, batch, bias_batch == 1 && batch > 1),
        features_(g.features, batch, bias_batch == 1 && batch > 1) {}

  BiasGradients of(Index b) {
    return {.slopes = slopes_.of(b),
            .log_forget = log_forget_.of(b),
            .query_gates = query_gates_.of(b),
            .key_gates = key_gates_.of(b),
            .features = features_.of(b)};
  }
  void add_up() {
    slopes_.add_up();
    log_forget_.add_up();
    query_gates_.add_up();
    key_gates_.add_up();
    features_.add_up();
  }

 private:
  GradientCopies slopes_, log_forget_, query_gates_, key_gates_, features_;
};

}  // namespace detail
}  // namespace grape::inline v0
