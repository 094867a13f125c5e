// SPDX-License-Identifier: Apache-2.0
// All parameters of the model live in one flat vector, and so do their gradients. A layer keeps
// blocks: where its matrices lie in that vector. Optimizer, clipping and the sum of gradients over
// threads then need no knowledge of the layers.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <string>
#include <vector>

namespace lm {

using Index = Eigen::Index;

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar>
using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
template <class Scalar>
using MatrixMap = Eigen::Map<Matrix<Scalar>>;
template <class Scalar>
using ConstMatrixMap = Eigen::Map<const Matrix<Scalar>>;

/// A rows x cols matrix inside the flat parameter vector.
struct ParameterBlock {
  Index offset = 0;
  Index rows = 0;
  Index cols = 0;

  template <class Scalar>
  ConstMatrixMap<Scalar> in(const Vector<Scalar>& parameters) const {
    return {parameters.data() + offset, rows, cols};
  }
  template <class Scalar>
  MatrixMap<Scalar> in(Vector<Scalar>& parameters) const {
    return {parameters.data() + offset, rows, cols};
  }
};

/// How a block starts: normal with this deviation around this mean.
struct Initial {
  double mean = 0;
  double deviation = 0;
};

/// The table of contents of the parameter vector, filled by the constructors of the layers.
class ParameterLayout {
 public:
  struct Entry {
    std::string name;
    ParameterBlock block;
    Initial initial;
    bool decay;  // weight decay is for matrices, not for gains and biases
  };

  ParameterBlock add(std::string name, Index rows, Index cols, Initial initial, bool decay) {
    const ParameterBlock block{size_, rows, cols};
    entries_.push_back({std::move(name), block, initial, decay});
    size_ += rows * cols;
    return block;
  }

  Index size() const { return size_; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  Index size_ = 0;
};

/// Standard normal numbers by Box and Muller: the same on every standard library.
class NormalSource {
 public:
  explicit NormalSource(std::uint64_t seed) : engine_(seed) {}

  double operator()() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  /// In [0, 1).
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 engine_;
};

template <class Scalar>
Vector<Scalar> initial_parameters(const ParameterLayout& layout, std::uint64_t seed) {
  NormalSource normal(seed);
  Vector<Scalar> parameters(layout.size());
  for (const auto& entry : layout.entries()) {
    for (auto& value : entry.block.in(parameters).reshaped()) {
      value = static_cast<Scalar>(entry.initial.mean + entry.initial.deviation * normal());
    }
  }
  return parameters;
}

}  // namespace lm
