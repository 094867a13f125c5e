// SPDX-License-Identifier: Apache-2.0
// Multiplicative GRAPE with parameters: rotations whose frequencies are learned, by positions or by
// a phase that tokens advance.
#pragma once

#include <grape/grape.hpp>
#include <string>
#include <utility>
#include <vector>

#include "encoding.hpp"

namespace lm {

/// Frequencies exp(log_freq / 16) of one layer. They start as RoPE's; what is stored and trained is
/// the difference of log_freq from there, so that it starts at 0.
class LearnedFrequencies {
 public:
  LearnedFrequencies(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : start_(grape::spectrum::log_frequencies(
            grape::spectrum::log_uniform(shape.head_dim(), kBase), kScale)),
        step_(layout.add(name + ".log_freq", 1, shape.head_dim() / 2, {0, 0}, false)) {}

  template <class Scalar>
  grape::Spectrum spectrum(const Vector<Scalar>& parameters) const {
    const auto step = step_.in(parameters);
    std::vector<double> log_freq = start_;
    for (std::size_t m = 0; m < log_freq.size(); ++m) {
      log_freq[m] += static_cast<double>(step(0, static_cast<Index>(m)));
    }
    return grape::spectrum::learned(log_freq, kScale);
  }

  template <class Scalar>
  void add_gradient(const grape::Spectrum& spectrum, const std::vector<double>& d_theta,
                    Vector<Scalar>& gradient) const {
    std::vector<double> d_log_freq(d_theta.size(), 0.0);
    grape::spectrum::learned_vjp(spectrum, kScale, d_theta, d_log_freq);
    auto d_step = step_.in(gradient);
    for (std::size_t m = 0; m < d_log_freq.size(); ++m) {
      d_step(0, static_cast<Index>(m)) += static_cast<Scalar>(d_log_freq[m]);
    }
  }

 private:
  static constexpr double kBase = 10000, kScale = 16;
  std::vector<double> start_;
  ParameterBlock step_;
};

/// GRAPE-M with learned frequencies: RoPE that finds its own.
template <class Scalar>
class LearnedRotary final : public PositionEncoding<Scalar> {
 public:
  LearnedRotary(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : frequencies_(shape, name, layout) {}

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    const grape::RoPE<Scalar, grape::Pairing::half_split> rope(frequencies_.spectrum(parameters));
    rope.at(grape::Positions::range(input.start, input.count), action_);
    grape::apply_rotation(action_, input.q, input.k);
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    std::vector<double> d_theta(static_cast<std::size_t>(action_.planes()), 0.0);
    for (const auto& [x, d_x] : {std::pair{input.q, d.d_q}, {input.k, d.d_k}}) {
      grape::apply_rotation_frequency_vjp(action_, x, d_x, d_theta);
      grape::apply_rotation_vjp(action_, d_x, d_x);
      grape::apply_inverse_rotation(action_, x);
    }
    frequencies_.add_gradient(frequencies_.spectrum(parameters), d_theta, gradient);
  }

 private:
  LearnedFrequencies frequencies_;
  grape::RotationAction<Scalar> action_;
};

/// Contextual GRAPE-M: every token says by how much the phase goes on, omega = softplus(w.x + b).
/// It starts near 1, so the model starts as RoPE.
template <class Scalar>
class ContextualRotary final : public PositionEncoding<Scalar> {
 public:
  ContextualRotary(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : frequencies_(shape, name, layout),
        weight_(layout.add(name + ".weight", 1, shape.dim, {0, 0.02}, true)),
        bias_(layout.add(name + ".bias", 1, 1, {kUnit, 0}, false)) {}

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    logits_.noalias() = input.x * weight_.in(parameters).transpose();
    logits_.array() += bias_.in(parameters)(0, 0);
    omega_ = logits_.unaryExpr(&grape::softplus<Scalar>);
    // A cached sequence goes on at the phase where it was.
    if (input.start == 0) phases_.assign(static_cast<std::size_t>(input.batch), 0.0);
    const grape::ContextualRoPE<Scalar, grape::Pairing::half_split> rope(
        frequencies_.spectrum(parameters));
    rope.at(grape::blh(omega_.data(), input.batch, input.count, 1), grape::PhaseCarry{phases_},
            action_);
    grape::apply_rotation(action_, input.q, input.k);
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    std::vector<double> d_theta(static_cast<std::size_t>(action_.planes()), 0.0);
    std::vector<double> d_phase(static_cast<std::size_t>(omega_.size()), 0.0);
    std::vector<double> d_omega(d_phase.size(), 0.0);
    for (const auto& [x, d_x] : {std::pair{input.q, d.d_q}, {input.k, d.d_k}}) {
      grape::apply_rotation_frequency_vjp(action_, x, d_x, d_theta);
      grape::apply_rotation_phase_vjp(action_, x, d_x, d_phase);
      grape::apply_rotation_vjp(action_, d_x, d_x);
      grape::apply_inverse_rotation(action_, x);
    }
    frequencies_.add_gradient(frequencies_.spectrum(parameters), d_theta, gradient);
    grape::phase_increments_vjp(d_phase, input.batch, input.count, 1, d_omega);
    d_logits_ = Eigen::Map<const Matrix<double>>(d_omega.data(), omega_.rows(), 1)
                    .template cast<Scalar>()
                    .cwiseProduct(logits_.unaryExpr(&grape::softplus_derivative<Scalar>));
    weight_.in(gradient).noalias() += d_logits_.transpose() * input.x;
    bias_.in(gradient)(0, 0) += d_logits_.sum();
    d.d_x.noalias() += d_logits_ * weight_.in(parameters);
  }

 private:
  static constexpr double kUnit = 0.541324854612918;  // log(e - 1): softplus of it is 1
  LearnedFrequencies frequencies_;
  ParameterBlock weight_, bias_;
  grape::RotationAction<Scalar> action_;
  Matrix<Scalar> logits_, omega_, d_logits_;  // [tokens, 1]
  std::vector<double> phases_;                // of the sequences so far
};

}  // namespace lm
