// SPDX-License-Identifier: Apache-2.0
// Attention of the paper's code and of independent code, outputs and gradients.
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "attention/problem.hpp"
#include "grape/attention/attend.hpp"
#include "grape/math/gates.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/golden.hpp"

namespace {

using grape::Index;
using grape::Positions;

// x / sqrt(mean(x^2) + eps) * weight, and its gradient.
struct RmsNorm {
  std::vector<double> weight;
  double eps = 0;

  std::vector<double> apply(const std::vector<double>& x) const {
    std::vector<double> y = x;
    for_rows(x, [&](std::size_t row, double inverse) {
      for (std::size_t d = 0; d < weight.size(); ++d) y[row + d] *= inverse * weight[d];
    });
    return y;
  }
  std::vector<double> vjp(const std::vector<double>& x, const std::vector<double>& d_y) const {
    std::vector<double> d_x(x.size());
    const auto dim = weight.size();
    for_rows(x, [&](std::size_t row, double inverse) {
      double dot = 0;
      for (std::size_t d = 0; d < dim; ++d) dot += d_y[row + d] * weight[d] * x[row + d];
      for (std::size_t d = 0; d < dim; ++d) {
        d_x[row + d] = inverse * (d_y[row + d] * weight[d] -
                                  x[row + d] * inverse * inverse * dot / static_cast<double>(dim));
      }
    });
    return d_x;
  }

 private:
  template <class F>
  void for_rows(const std::vector<double>& x, F&& visit) const {
    for (std::size_t row = 0; row < x.size(); row += weight.size()) {
      double sum = 0;
      for (std::size_t d = 0; d < weight.size(); ++d) sum += x[row + d] * x[row + d];
      visit(row, 1 / std::sqrt(sum / static_cast<double>(weight.size()) + eps));
    }
  }
};

// One file: q, k, v in, out and every gradient against its numbers. `bias` and `rotation` may be
// null; the gradient of log gates goes to d_gates where that is not null.
class GoldenAttention {
 public:
  explicit GoldenAttention(const std::string& name) : c_(golden::load(name)) {
    more_ = name.rfind("more/", 0) == 0;
    const auto shape = c_.inputs("q").shape;
    batch_ = shape[0];
    seq_ = shape[1];
    heads_ = shape[2];
    dim_ = shape[3];
    // References in float carry their own errors; those in double print 17 digits.
    bound_ = c_.dtype() == "float32" ? 2e-5 : 1e-12;
    if (more_ && c_.config<bool>("qk_rmsnorm")) {
      const double eps = c_.config<double>("qk_rms_eps");
      q_norm_ = RmsNorm{c_.inputs("q_rms_weight").data, eps};
      k_norm_ = RmsNorm{c_.inputs("k_rms_weight").data, eps};
    }
  }

  const golden::Case& file() const { return c_; }
  Index batch() const { return batch_; }
  Index seq() const { return seq_; }
  Index heads() const { return heads_; }
  Index dim() const { return dim_; }
  bool normalised() const { return q_norm_.has_value(); }
  double bound() const { return bound_; }

  // Queries and keys as attention sees them, normalised where the file says so.
  std::vector<double> queries() const {
    const auto& q = c_.inputs("q").data;
    return q_norm_ ? q_norm_->apply(q) : q;
  }
  std::vector<double> keys() const {
    const auto& k = c_.inputs("k").data;
    return k_norm_ ? k_norm_->apply(k) : k;
  }
  grape::TensorView<double> view(std::vector<double>& x) const {
    return grape::blhd(x.data(), batch_, seq_, heads_, dim_);
  }

  // `then(d_q, d_k)` adds what reaches queries and keys by way of the bias.
  using Then = std::function<void(std::vector<double>&, std::vector<double>&)>;
  void expect(const grape::RotationAction<double>* rotation, const grape::BiasAction<double>* bias,
              const grape::BiasGradients& of_bias = {}, const Then& then = {}) const {
    const std::vector<double> q0 = c_.inputs("q").data, k0 = c_.inputs("k").data;
    std::vector<double> q = queries(), k = keys();
    std::vector<double> v = c_.inputs("v").data, w = c_.inputs(more_ ? "w_y" : "w").data;
    std::vector<double> out(q.size()), d_q(q.size()), d_k(q.size()), d_v(q.size());
    std::vector<double> log_sum(static_cast<std::size_t>(batch_ * seq_ * heads_));
    const grape::AttendOptions<double> options{
        .rotation = rotation, .bias = bias, .causal = true, .log_sum = log_sum};
    grape::attend(view(q), view(k), view(v), view(out), options);
    expect_near("out", out, c_.outputs(more_ ? "y" : "out").data);
    grape::attend_vjp({view(q), view(k), view(v), view(out)}, view(w),
                      {.q = view(d_q), .k = view(d_k), .v = view(d_v), .bias = of_bias}, options);
    if (then) then(d_q, d_k);
    expect_near("v", d_v, c_.gradients("v").data);
    expect_near("q", q_norm_ ? q_norm_->vjp(q0, d_q) : d_q, c_.gradients("q").data);
    expect_near("k", k_norm_ ? k_norm_->vjp(k0, d_k) : d_k, c_.gradients("k").data);
  }

  void expect_near(const std::string& what, const std::vector<double>& got,
                   const std::vector<double>& want) const {
    ASSERT_EQ(got.size(), want.size()) << what;
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], bound_ * std::max(1.0, std::fabs(want[i]))) << what << " " << i;
    }
  }

 private:
  golden::Case c_;
  bool more_;
  Index batch_, seq_, heads_, dim_;
  double bound_;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

TEST(GoldenAttentionOf, NoEncoding) {
  for (const std::string& name : golden::families("attention_none")) {
    SCOPED_TRACE(name);
    GoldenAttention(name).expect(nullptr, nullptr);
  }
}

TEST(GoldenAttentionOf, ALiBi) {
  for (const std::string& name : golden::families("attention_alibi")) {
    SCOPED_TRACE(name);
    const GoldenAttention a(name);
    const auto positions = Positions::range(0, a.seq());
    const auto bias = grape::ALiBi<double>(a.file().inputs("slopes").data).at(positions, positions);
    a.expect(nullptr, &bias);
  }
}

// Log gates of a file, and the gradient of what it calls its input.
template <class Action>
void expect_fox(const GoldenAttention& a, const Action* rotation) {
  const golden::Case& c = a.file();
  const bool logits = c.has_input("fgate_logit");
  std::vector<double> gates = c.inputs(logits ? "fgate_logit" : "log_forget").data;
  const std::vector<double> x = gates;
  if (logits) {
    for (double& gate : gates) gate = grape::log_sigmoid(gate);
  }
  const auto decay =
      grape::FoX<double>(a.heads()).at(grape::blh(gates.data(), a.batch(), a.seq(), a.heads()));
  std::vector<double> d_gates(gates.size(), 0.0);
  a.expect(rotation, &decay, {.log_forget = d_gates});
  if (logits) {
    for (std::size_t i = 0; i < x.size(); ++i) d_gates[i] *= grape::log_sigmoid_derivative(x[i]);
  }
  a.expect_near("gates", d_gates, c.gradients(logits ? "fgate_logit" : "log_forget").data);
}

TEST(GoldenAttentionOf, FoX) {
  for (const std::string& name : golden::families("attention_fox")) {
    SCOPED_TRACE(name);
    expect_fox<grape::RotationAction<double>>(GoldenAttention(name), nullptr);
  }
}

// The paper's code turns by the opposite angle; in its RoPE model it takes halves for pairs and
// normalises after turning, which attend() cannot know of.
TEST(GoldenAttentionOf, RoPEAndRoPEWithFoX) {
  for (const char* family : {"attention_rope", "attention_rope_fox"}) {
    const bool fox = std::string(family) == "attention_rope_fox";
    for (const std::string& name : golden::families(family)) {
      SCOPED_TRACE(name);
      const GoldenAttention a(name);
      const bool authors = name.rfind("more/", 0) == 0;
      if (a.normalised() && a.file().config<std::string>("order").rfind("rotate", 0) == 0) continue;
      const grape::Spectrum usual = grape::spectrum::log_uniform(a.dim(), 10000.0);
      std::vector<double> frequencies(usual.frequencies().begin(), usual.frequencies().end());
      if (authors) {
        for (double& x : frequencies) x = -x;
      }
      const auto positions = Positions::range(0, a.seq());
      const grape::Spectrum spectrum(frequencies);
      const auto rotation =
          authors ? grape::RoPE<double, grape::Pairing::half_split>(spectrum).at(positions)
                  : grape::RoPE<double>(spectrum).at(positions);
      if (fox) {
        expect_fox(a, &rotation);
      } else {
        a.expect(&rotation, nullptr);
      }
    }
  }
}

TEST(GoldenAttentionOf, PathIntegrals) {
  for (const char* family : {"attention_path_integral", "attention_grape_ap"}) {
    for (const std::string& name : golden::families(family)) {
      SCOPED_TRACE(name);
      const GoldenAttention a(name);
      const golden::Array p = a.file().inputs("p");
      const bool authors = std::string(family) == "attention_grape_ap";
      const grape::PathIntegralPath<> path{
          authors ? grape::ProbeConvention::authors : grape::ProbeConvention::paper,
          grape::Pairing::half_split, std::numeric_limits<double>::epsilon()};
      const grape::PathIntegral<double> ap(
          grape::UnipotentGenerator<double>(a.file().inputs("slopes").data), path);
      const auto bias =
          ap.at(grape::blhd(p.data.data(), p.shape[0], p.shape[1], p.shape[2], p.shape[3]));
      std::vector<double> d_features(p.data.size(), 0.0);
      a.expect(nullptr, &bias, {.features = d_features});
      a.expect_near("p", d_features, a.file().gradients("p").data);
    }
  }
}

// Gates that see queries and keys as attention does; their gradients come back by two ways.
template <grape::Gate gate>
void expect_gated(const std::string& family) {
  const bool paper = family == "attention_gated_qk";
  for (const std::string& name : golden::families(family)) {
    SCOPED_TRACE(name);
    const GoldenAttention a(name);
    const golden::Case& c = a.file();
    const char *query = paper ? "v_gate" : "gate_v", *key = paper ? "u" : "gate_u";
    grape::GateParameters parameters{
        .omega = c.inputs("omega").data, .softplus_omega = !paper, .normalized = !paper};
    if (gate != grape::Gate::key) parameters.query_weights = c.inputs(query).data;
    if (gate != grape::Gate::query) parameters.key_weights = c.inputs(key).data;
    const auto sets = static_cast<std::size_t>(a.heads());
    const grape::GatedALiBi<double, gate> encoder(
        paper ? std::vector<double>(sets, 1.0) : c.inputs("slopes").data,
        grape::GatedPath<gate>(parameters));
    std::vector<double> q = a.queries(), k = a.keys();
    const auto qs = a.view(q), ks = a.view(k);
    const auto all = Positions::range(0, a.seq());
    grape::BiasAction<double> bias;
    if constexpr (gate == grape::Gate::both) {
      encoder.at(qs, ks, all, all, grape::Future::mask, bias);
    } else {
      encoder.at(gate == grape::Gate::query ? qs : ks, all, all, grape::Future::mask, bias);
    }
    const auto gates = static_cast<std::size_t>(a.batch() * a.seq() * a.heads());
    std::vector<double> d_factors(sets), d_omega(sets), d_query_gates, d_key_gates;
    std::vector<double> d_query(parameters.query_weights.size());
    std::vector<double> d_key(parameters.key_weights.size());
    if (gate != grape::Gate::key) d_query_gates.resize(gates);
    if (gate != grape::Gate::query) d_key_gates.resize(gates);
    const grape::GatedGradients gradients{
        .omega = d_omega, .query_weights = d_query, .key_weights = d_key};
    a.expect(nullptr, &bias,
             {.slopes = d_factors, .query_gates = d_query_gates, .key_gates = d_key_gates},
             [&](std::vector<double>& d_q, std::vector<double>& d_k) {
               if constexpr (gate != grape::Gate::key) {
                 grape::apply_query_gate_vjp(encoder, qs, d_query_gates, a.view(d_q), gradients);
               }
               if constexpr (gate != grape::Gate::query) {
                 grape::apply_key_gate_vjp(encoder, ks, d_key_gates, a.view(d_k), gradients);
               }
             });
    grape::apply_gated_slope_vjp(encoder, d_factors, gradients);
    a.expect_near("omega", d_omega, c.gradients("omega").data);
    if (gate != grape::Gate::key) a.expect_near("v", d_query, c.gradients(query).data);
    if (gate != grape::Gate::query) a.expect_near("u", d_key, c.gradients(key).data);
  }
}

TEST(GoldenAttentionOf, GatedSlopes) {
  expect_gated<grape::Gate::both>("attention_gated_qk");
  expect_gated<grape::Gate::both>("attention_grape_a_qk");
  expect_gated<grape::Gate::query>("attention_grape_a_q");
  expect_gated<grape::Gate::key>("attention_grape_a_k");
}

}  // namespace
