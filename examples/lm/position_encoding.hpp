// SPDX-License-Identifier: Apache-2.0
// Where this model meets grape. Encodings are built by name, a part or several joined by '+'
// ("rope", "rope+alibi"). A new one is a small struct (see encoding.hpp) and a line in kParts.
#pragma once

#include <grape/grape.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "encoding.hpp"
#include "frame_encodings.hpp"
#include "gated_encodings.hpp"
#include "learned_rotary.hpp"
#include "parameters.hpp"
#include "path_integral_encoding.hpp"
#include "shift_encoding.hpp"

namespace lm {

/// RoPE: queries and keys turn with their positions, so that scores see differences of positions.
template <class Scalar>
class Rotary final : public PositionEncoding<Scalar> {
 public:
  Rotary(const ModelShape& shape, const std::string& /*name*/, ParameterLayout&)
      : rope_(grape::spectrum::log_uniform(shape.head_dim(), kBase)) {}

  void encode(const Vector<Scalar>&, const AttentionInput<Scalar>& input) override {
    if (start_ != input.start || count_ != input.count) {
      rope_.at(grape::Positions::range(input.start, input.count), action_);
      start_ = input.start;
      count_ = input.count;
    }
    grape::apply_rotation(action_, input.q, input.k);
  }

  void encode_vjp(const Vector<Scalar>&, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>&) override {
    for (const auto& [x, d_x] : {std::pair{input.q, d.d_q}, {input.k, d.d_k}}) {
      grape::apply_rotation_vjp(action_, d_x, d_x);
      grape::apply_inverse_rotation(action_, x);
    }
  }

 private:
  static constexpr double kBase = 10000;
  grape::RoPE<Scalar, grape::Pairing::half_split> rope_;
  grape::RotationAction<Scalar> action_;  // for the positions start_ .. start_ + count_ - 1
  Index start_ = 0, count_ = 0;
};

/// ALiBi: every head's scores fall linearly with distance, at the head's own slope.
template <class Scalar>
class LinearBias final : public PositionEncoding<Scalar> {
 public:
  LinearBias(const ModelShape& shape, const std::string& /*name*/, ParameterLayout&)
      : alibi_(shape.heads) {}

  void encode(const Vector<Scalar>&, const AttentionInput<Scalar>& input) override {
    if (input.start == 0) bias_ = {};
    alibi_.append(grape::Positions::range(input.start, input.count), bias_);
  }

  const grape::BiasAction<Scalar>* bias() const override { return &bias_; }

 private:
  grape::ALiBi<Scalar> alibi_;
  grape::BiasAction<Scalar> bias_;
};

/// FoX: every head forgets by a gate that each token sets, log f = log sigmoid(w.x + b).
template <class Scalar>
class Forgetting final : public PositionEncoding<Scalar> {
 public:
  Forgetting(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : weight_(layout.add(name + ".weight", shape.heads, shape.dim, {0, 0.02}, true)),
        bias_(layout.add(name + ".bias", 1, shape.heads, {kOpen, 0}, false)),
        fox_(shape.heads) {}

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    logits_.noalias() = input.x * weight_.in(parameters).transpose();
    logits_.rowwise() += bias_.in(parameters).row(0);
    gates_ = logits_.unaryExpr(&grape::log_sigmoid<Scalar>);
    // Decoding goes on with the sums of the earlier tokens' gates.
    if (input.start == 0) decay_ = {};
    fox_.append(grape::blh(gates_.data(), input.batch, input.count, gates_.cols()), decay_);
  }

  const grape::BiasAction<Scalar>* bias() const override { return &decay_; }

  grape::BiasGradients bias_gradients() override {
    d_gates_.assign(static_cast<std::size_t>(gates_.size()), 0.0);
    return {.log_forget = d_gates_};
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    d_logits_ = Eigen::Map<const Matrix<double>>(d_gates_.data(), gates_.rows(), gates_.cols())
                    .template cast<Scalar>()
                    .cwiseProduct(logits_.unaryExpr(&grape::log_sigmoid_derivative<Scalar>));
    weight_.in(gradient).noalias() += d_logits_.transpose() * input.x;
    bias_.in(gradient) += d_logits_.colwise().sum();
    d.d_x.noalias() += d_logits_ * weight_.in(parameters);
  }

 private:
  static constexpr double kOpen = 3;  // gates start at 0.95
  ParameterBlock weight_, bias_;
  grape::FoX<Scalar> fox_;
  grape::BiasAction<Scalar> decay_;
  Matrix<Scalar> logits_, gates_, d_logits_;  // [tokens, heads]
  std::vector<double> d_gates_;
};

template <class Scalar>
using PositionEncodings = std::vector<std::unique_ptr<PositionEncoding<Scalar>>>;

namespace detail {

template <class Scalar>
using MakeEncoding = std::unique_ptr<PositionEncoding<Scalar>> (*)(const ModelShape&,
                                                                   const std::string& name,
                                                                   ParameterLayout&);

template <class Encoding, class Scalar>
std::unique_ptr<PositionEncoding<Scalar>> make(const ModelShape& shape, const std::string& name,
                                               ParameterLayout& layout) {
  return std::make_unique<Encoding>(shape, name, layout);
}

template <class Scalar>
struct Part {
  std::string_view name;
  MakeEncoding<Scalar> make;
};

/// The parts by name. Joined parts act in the order of this table, whatever the order in the name.
template <class Scalar>
inline constexpr Part<Scalar> kParts[] = {
    {"kvshift", &make<Shifting<Scalar>, Scalar>},
    {"grape_a_q", &make<GatedSlopes<Scalar, grape::Gate::query>, Scalar>},
    {"grape_a_k", &make<GatedSlopes<Scalar, grape::Gate::key>, Scalar>},
    {"grape_a_qk", &make<GatedSlopes<Scalar, grape::Gate::both>, Scalar>},
    {"rope", &make<Rotary<Scalar>, Scalar>},
    {"grape_m", &make<LearnedRotary<Scalar>, Scalar>},
    {"grape_m_ctx", &make<ContextualRotary<Scalar>, Scalar>},
    {"alibi", &make<LinearBias<Scalar>, Scalar>},
    {"fox", &make<Forgetting<Scalar>, Scalar>},
    {"grape_m_frame", &make<LearnedFrame<Scalar>, Scalar>},
    {"grape_m_compact", &make<CompactMixture<Scalar>, Scalar>},
    {"grape_ap", &make<PathIntegrated<Scalar>, Scalar>},
};

/// Takes the parts of "a+b+c"; throws if one is unknown or named twice.
inline std::vector<std::string_view> split_encoding(std::string_view encoding) {
  std::vector<std::string_view> names;
  for (std::string_view rest = encoding;;) {
    const std::size_t plus = rest.find('+');
    const std::string_view name = rest.substr(0, plus);
    bool known = name == "none";
    std::string all = "none";
    for (const auto& part : kParts<float>) {
      known = known || part.name == name;
      all.append(", ").append(part.name);
    }
    if (!known) {
      throw std::invalid_argument("unknown position encoding '" + std::string(encoding) +
                                  "': wanted one of " + all + ", or several joined by '+'");
    }
    for (const auto& earlier : names) {
      if (earlier == name || earlier == "none" || name == "none") {
        throw std::invalid_argument("position encoding '" + std::string(encoding) +
                                    "': parts must differ, and 'none' stands alone");
      }
    }
    names.push_back(name);
    if (plus == std::string_view::npos) return names;
    rest.remove_prefix(plus + 1);
  }
}

}  // namespace detail

/// The encodings of one layer; `layer` prefixes the names of their parameters.
template <class Scalar>
PositionEncodings<Scalar> make_encodings(const ModelShape& shape, const std::string& layer,
                                         ParameterLayout& layout) {
  const auto names = detail::split_encoding(shape.encoding);
  PositionEncodings<Scalar> encodings;
  for (const auto& part : detail::kParts<Scalar>) {
    for (const auto& name : names) {
      if (name != part.name) continue;
      encodings.push_back(part.make(shape, layer + "." + std::string(name), layout));
    }
  }
  return encodings;
}

}  // namespace lm
