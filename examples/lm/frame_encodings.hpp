// SPDX-License-Identifier: Apache-2.0
// Rotations whose planes are learned: a frame with frequencies, and overlapping planes.
#pragma once

#include <algorithm>
#include <cmath>
#include <grape/grape.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "encoding.hpp"
#include "parameters.hpp"

namespace lm {

/// What the two below share: queries and keys turn in a frame for each head, made anew from the
/// parameters at every pass.
template <class Scalar, class Generator>
class FrameEncoding : public PositionEncoding<Scalar> {
 public:
  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    encoder_.emplace(make(parameters));
    encoder_->at(grape::Positions::range(input.start, input.count), action_);
    grape::apply_rotation(action_, input.q, input.k);
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    for (const auto& [x, d_x] : {std::pair{input.q, d.d_q}, {input.k, d.d_k}}) {
      add_gradient(parameters, x, d_x, gradient);
      grape::apply_rotation_vjp(action_, d_x, d_x);
      grape::apply_inverse_rotation(action_, x);
    }
  }

 protected:
  virtual Generator make(const Vector<Scalar>& parameters) const = 0;
  /// From what was turned and the gradient there.
  virtual void add_gradient(const Vector<Scalar>& parameters, grape::TensorView<const Scalar> out,
                            grape::TensorView<const Scalar> d_out,
                            Vector<Scalar>& gradient) const = 0;

  const Generator& generator() const { return encoder_->generator(); }
  const grape::RotationAction<Scalar>& action() const { return action_; }

 private:
  std::optional<grape::Encoder<Generator, grape::LinearPath>> encoder_;
  grape::RotationAction<Scalar> action_;
};

/// GRAPE-M in a learned frame: each head has an orthonormal frame, a product of reflections, and
/// frequencies exp(log rope + x).
template <class Scalar>
class LearnedFrame final : public FrameEncoding<Scalar, grape::LearnedPlanes<Scalar>> {
 public:
  LearnedFrame(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : heads_(shape.heads),
        dim_(shape.head_dim()),
        planes_(shape.head_dim() / 2),
        reflectors_(layout.add(name + ".reflectors", heads_ * 2 * planes_, dim_, {0, 1}, false)),
        log_frequencies_(layout.add(name + ".log_frequencies", heads_, planes_, {0, 0}, false)),
        start_(grape::spectrum::log_frequencies(grape::spectrum::log_uniform(2 * planes_))) {}

 private:
  grape::LearnedPlanes<Scalar> make(const Vector<Scalar>& parameters) const override {
    std::vector<grape::FrameMatrix> frames;
    std::vector<double> log_frequencies;
    for (Index h = 0; h < heads_; ++h) {
      frames.push_back(grape::frame::householder(reflectors(parameters, h)));
      for (Index m = 0; m < planes_; ++m) {
        log_frequencies.push_back(start_[static_cast<std::size_t>(m)] +
                                  static_cast<double>(log_frequencies_.in(parameters)(h, m)));
      }
    }
    return {std::move(frames), grape::spectrum::learned(log_frequencies, 1.0, heads_)};
  }

  void add_gradient(const Vector<Scalar>& parameters, grape::TensorView<const Scalar> out,
                    grape::TensorView<const Scalar> d_out,
                    Vector<Scalar>& gradient) const override {
    const Index entries = dim_ * 2 * planes_;
    std::vector<double> d_frames(static_cast<std::size_t>(heads_ * entries));
    std::vector<double> d_theta(static_cast<std::size_t>(heads_ * planes_)), d_log(d_theta.size());
    grape::apply_rotation_frame_vjp(this->action(), out, d_out, d_frames);
    grape::apply_rotation_frequency_vjp(this->action(), out, d_out, d_theta);
    grape::spectrum::learned_vjp(this->generator().spectrum(), 1.0, d_theta, d_log);
    for (Index h = 0; h < heads_; ++h) {
      const Eigen::Map<const grape::FrameMatrix> d_frame(d_frames.data() + h * entries, dim_,
                                                         2 * planes_);
      const grape::FrameMatrix d =
          grape::frame::householder_vjp(reflectors(parameters, h), d_frame);
      reflectors_.in(gradient).middleRows(h * 2 * planes_, 2 * planes_) +=
          d.transpose().template cast<Scalar>();
    }
    log_frequencies_.in(gradient) +=
        Eigen::Map<const Matrix<double>>(d_log.data(), heads_, planes_).template cast<Scalar>();
  }

  grape::FrameMatrix reflectors(const Vector<Scalar>& parameters, Index head) const {
    return reflectors_.in(parameters)
        .middleRows(head * 2 * planes_, 2 * planes_)
        .template cast<double>()
        .transpose();
  }

  Index heads_, dim_, planes_;
  ParameterBlock reflectors_, log_frequencies_;
  std::vector<double> start_;
};

/// Compact non-commuting GRAPE-M: each head turns by a sum of overlapping planes (a_i, b_i), half
/// as many as RoPE has, at speeds exp(log rope + x).
template <class Scalar>
class CompactMixture final : public FrameEncoding<Scalar, grape::CompactPlanes<Scalar>> {
 public:
  CompactMixture(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : heads_(shape.heads),
        dim_(shape.head_dim()),
        planes_(std::max<Index>(1, shape.head_dim() / 4)),
        a_(layout.add(name + ".a", heads_ * planes_, dim_, initial(), false)),
        b_(layout.add(name + ".b", heads_ * planes_, dim_, initial(), false)),
        log_speeds_(layout.add(name + ".log_speeds", heads_, planes_, {0, 0}, false)),
        start_(grape::spectrum::log_uniform(2 * planes_)) {}

 private:
  /// Vectors of length 1 or so.
  Initial initial() const { return {0, 1 / std::sqrt(static_cast<double>(dim_))}; }

  grape::CompactPlanes<Scalar> make(const Vector<Scalar>& parameters) const override {
    std::vector<grape::OverlappingPlanes> sets;
    for (Index h = 0; h < heads_; ++h) {
      const auto columns = [&](const ParameterBlock& block) {
        return grape::FrameMatrix(block.in(parameters)
                                      .middleRows(h * planes_, planes_)
                                      .template cast<double>()
                                      .transpose());
      };
      Eigen::VectorXd theta(planes_);
      for (Index i = 0; i < planes_; ++i) {
        theta[i] = start_(0, i) * std::exp(static_cast<double>(log_speeds_.in(parameters)(h, i)));
      }
      sets.push_back({columns(a_), columns(b_), theta});
    }
    return grape::CompactPlanes<Scalar>(std::move(sets));
  }

  void add_gradient(const Vector<Scalar>&, grape::TensorView<const Scalar> out,
                    grape::TensorView<const Scalar> d_out,
                    Vector<Scalar>& gradient) const override {
    const auto entries = static_cast<std::size_t>(this->action().frame_columns() * dim_);
    std::vector<double> d_planes(static_cast<std::size_t>(heads_) * entries);
    grape::apply_rotation_plane_vjp(this->action(), out, d_out, d_planes);
    for (Index h = 0; h < heads_; ++h) {
      const std::span<const double> of_head(d_planes.data() + static_cast<std::size_t>(h) * entries,
                                            entries);
      const grape::OverlappingPlanes d = this->generator().vjp(of_head, h);
      const auto rows = [&](const ParameterBlock& block) {
        return block.in(gradient).middleRows(h * planes_, planes_);
      };
      rows(a_) += d.a.transpose().template cast<Scalar>();
      rows(b_) += d.b.transpose().template cast<Scalar>();
      const Eigen::VectorXd& theta = this->generator().parameters(h).theta;
      log_speeds_.in(gradient).row(h) +=
          d.theta.cwiseProduct(theta).transpose().template cast<Scalar>();
    }
  }

  Index heads_, dim_, planes_;
  ParameterBlock a_, b_, log_speeds_;
  grape::Spectrum start_;
};

}  // namespace lm
