// SPDX-License-Identifier: Apache-2.0
// The hand-written backward passes of the example against differences of its loss.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "examples/lm/model.hpp"

namespace lm {
namespace {

constexpr Index kBatch = 2, kLength = 9;

ModelShape small_shape(const std::string& encoding) { return {8, 2, 2, encoding}; }

std::vector<Byte> random_windows(NormalSource& random) {
  std::vector<Byte> windows(kBatch * (kLength + 1));
  for (auto& byte : windows) byte = static_cast<Byte>(random.uniform() * 256);
  return windows;
}

class Gradient : public testing::TestWithParam<const char*> {};

// For every block of parameters, along a random direction of unit length. The five-point difference
// with step h errs by h^4 / 30 times the fifth derivative, which is of the order of the loss here,
// and by rounding: the loss L is a sum over about 10^3 roundings on each path, hence 10^3 epsilon L
// / h.
TEST_P(Gradient, EqualsDifferenceOfTheLoss) {
  NormalSource random(7);
  Model<double> model(small_shape(GetParam()));
  Vector<double> parameters = initial_parameters<double>(model.layout(), 3);
  for (auto& value : parameters) value += 0.05 * random();  // gains that differ from 1
  const std::vector<Byte> windows = random_windows(random);
  const auto loss = [&](const Vector<double>& at) {
    return model.losses(at, windows, kBatch).sum();
  };
  Vector<double> gradient = Vector<double>::Zero(parameters.size());
  const double value = loss(parameters);
  model.backward(parameters, 1.0, gradient);

  constexpr double kStep = 1e-3, kEpsilon = 2.3e-16;
  const double tolerance = value * (kStep * kStep * kStep * kStep + 1e3 * kEpsilon / kStep);
  ASSERT_FALSE(model.layout().entries().empty());
  for (const auto& entry : model.layout().entries()) {
    Vector<double> direction = Vector<double>::Zero(parameters.size());
    for (auto& v : entry.block.in(direction).reshaped()) v = random();
    direction.normalize();
    const auto at = [&](double step) { return loss(parameters + step * direction); };
    const double difference =
        (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
    EXPECT_NEAR(gradient.dot(direction), difference, tolerance) << entry.name;
  }
}

// Gradients add up over micro-batches, each with its weight.
TEST_P(Gradient, AddsToWhatIsThere) {
  NormalSource random(8);
  Model<double> model(small_shape(GetParam()));
  const Vector<double> parameters = initial_parameters<double>(model.layout(), 4);
  const std::vector<Byte> windows = random_windows(random);
  Vector<double> once = Vector<double>::Zero(parameters.size());
  model.losses(parameters, windows, kBatch);
  model.backward(parameters, 1.0, once);
  Vector<double> twice = Vector<double>::Constant(parameters.size(), 0.25);
  for (int i = 0; i < 2; ++i) {
    model.losses(parameters, windows, kBatch);
    model.backward(parameters, 0.5, twice);
  }
  // Each entry is a sum of at most kBatch * kLength products over the batch, rounded anew.
  const double tolerance = 1e3 * 2.3e-16 * (1 + once.cwiseAbs().maxCoeff());
  EXPECT_LE((twice - once).array().abs().maxCoeff() - 0.25, tolerance);
  EXPECT_GE((twice - once).array().minCoeff() - 0.25, -tolerance);
}

INSTANTIATE_TEST_SUITE_P(Encodings, Gradient,
                         testing::Values("none", "rope", "grape_m_frame", "grape_m_compact",
                                         "grape_m_frame+alibi", "alibi", "rope+alibi", "fox",
                                         "grape_a_q", "grape_a_k", "grape_a_qk", "rope+grape_a_qk",
                                         "fox+rope", "grape_m", "grape_m_ctx",
                                         "grape_m+grape_m_ctx+rope",
                                         "grape_m+grape_m_frame+grape_a_k", "grape_ap", "kvshift",
                                         "fox+kvshift", "grape_ap+rope+kvshift",
                                         "grape_a_qk+alibi+fox+grape_ap"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '+' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace lm
