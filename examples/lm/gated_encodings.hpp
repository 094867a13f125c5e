// SPDX-License-Identifier: Apache-2.0
// GRAPE-A-Q, -K and -QK: ALiBi whose slope each query, key or both set by a gate of their content.
#pragma once

#include <cstddef>
#include <grape/grape.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "encoding.hpp"
#include "parameters.hpp"

namespace lm {

/// The gates read queries and keys as they come, before a rotation that stands behind.
template <class Scalar, grape::Gate gate>
class GatedSlopes final : public PositionEncoding<Scalar> {
 public:
  GatedSlopes(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : slopes_(grape::alibi_slopes(shape.heads)),
        omega_(layout.add(name + ".omega", 1, shape.heads, {kOmega, 0}, false)) {
    const auto weights = [&](const char* of) {
      return layout.add(name + of, shape.heads, shape.head_dim(), {0, 0.1}, true);
    };
    if constexpr (kQuery) query_weights_ = weights(".query_gate");
    if constexpr (kKey) key_weights_ = weights(".key_gate");
  }

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    grape::GateParameters p;
    p.omega = list(omega_, parameters);
    p.softplus_omega = true;
    if constexpr (kQuery) p.query_weights = list(query_weights_, parameters);
    if constexpr (kKey) p.key_weights = list(key_weights_, parameters);
    encoder_.emplace(slopes_, grape::GatedPath<gate>(std::move(p)));
    // Decoding goes on with the gates of the earlier keys.
    if (input.start == 0) bias_ = {};
    const auto positions = grape::Positions::range(input.start, input.count);
    if constexpr (gate == grape::Gate::both) {
      encoder_->append(input.q, input.k, positions, bias_);
    } else if constexpr (kQuery) {
      encoder_->append(input.q, positions, bias_);
    } else {
      encoder_->append(input.k, positions, bias_);
    }
  }

  const grape::BiasAction<Scalar>* bias() const override { return &bias_; }

  grape::BiasGradients bias_gradients() override {
    const grape::BiasGradientSizes sizes = bias_.gradient_sizes();
    d_slopes_.assign(static_cast<std::size_t>(sizes.slopes), 0.0);
    d_query_gates_.assign(static_cast<std::size_t>(sizes.query_gates), 0.0);
    d_key_gates_.assign(static_cast<std::size_t>(sizes.key_gates), 0.0);
    return {.slopes = d_slopes_, .query_gates = d_query_gates_, .key_gates = d_key_gates_};
  }

  void encode_vjp(const Vector<Scalar>&, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    const auto zeros = [](const ParameterBlock& block) {
      return std::vector<double>(static_cast<std::size_t>(block.rows * block.cols), 0.0);
    };
    auto d_omega = zeros(omega_), d_query = zeros(query_weights_), d_key = zeros(key_weights_);
    const grape::GatedGradients wanted{
        .omega = d_omega, .query_weights = d_query, .key_weights = d_key};
    grape::apply_gated_slope_vjp(*encoder_, d_slopes_, wanted);
    if constexpr (kQuery) {
      grape::apply_query_gate_vjp(*encoder_, input.q, d_query_gates_, d.d_q, wanted);
    }
    if constexpr (kKey) {
      grape::apply_key_gate_vjp(*encoder_, input.k, d_key_gates_, d.d_k, wanted);
    }
    add(d_omega, omega_, gradient);
    add(d_query, query_weights_, gradient);
    add(d_key, key_weights_, gradient);
  }

 private:
  static constexpr bool kQuery = gate != grape::Gate::key;
  static constexpr bool kKey = gate != grape::Gate::query;
  /// Gates start at log 2 each; this makes the slopes those of ALiBi.
  static constexpr double kOmega = kQuery && kKey ? 0.055 : 1.174;

  static std::vector<double> list(const ParameterBlock& block, const Vector<Scalar>& parameters) {
    const auto values = block.in(parameters);
    return {values.data(), values.data() + values.size()};
  }
  static void add(const std::vector<double>& from, const ParameterBlock& block,
                  Vector<Scalar>& gradient) {
    auto values = block.in(gradient);
    for (Index i = 0; i < values.size(); ++i) {
      values.data()[i] += static_cast<Scalar>(from[static_cast<std::size_t>(i)]);
    }
  }

  std::vector<double> slopes_;
  ParameterBlock omega_, query_weights_, key_weights_;
  std::optional<grape::GatedALiBi<Scalar, gate>> encoder_;  // of the last pass's parameters
  grape::BiasAction<Scalar> bias_;
  std::vector<double> d_slopes_, d_query_gates_, d_key_gates_;
};

}  // namespace lm
