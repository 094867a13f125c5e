// SPDX-License-Identifier: Apache-2.0
#include "side.hpp"

#include <Eigen/Dense>
#include <cmath>
#include <cstddef>

namespace {

/// Numbers in (-1, 1) that are the same in each translation unit.
std::vector<float> numbers(grape::Index count, double seed) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(std::sin(seed + 1.7 * static_cast<double>(i)));
  }
  return x;
}

grape::TensorView<float> view(std::vector<float>& x, grape::Index seq, grape::Index heads) {
  return grape::blhd(x.data(), kBatch, seq, heads, kDim);
}

std::vector<float> tokens(grape::Index seq, grape::Index heads, double seed) {
  return numbers(kBatch * seq * heads * kDim, seed);
}

void append(std::vector<float>& out, const std::vector<float>& x) {
  out.insert(out.end(), x.begin(), x.end());
}

Actions prepare() {
  const auto positions = grape::Positions::range(1000, kSeq);
  std::vector<float> gates = numbers(kBatch * kSeq * kHeads, 1);
  for (float& g : gates) g = -0.1f * g * g;
  const std::vector<float> features = numbers(kBatch * kSeq * kHeads * kWidth, 2);
  Eigen::MatrixXd reflectors(kDim, 8);
  for (Eigen::Index i = 0; i < reflectors.size(); ++i) {
    reflectors(i) = std::cos(0.3 * static_cast<double>(i * i));
  }
  const grape::HouseholderRoPE<float> framed(reflectors, grape::spectrum::log_uniform(8));
  return {grape::RoPE<float>(grape::spectrum::log_uniform(kDim)).at(positions),
          framed.at(positions),
          grape::FoX<float>(kHeads).at(grape::blh(gates.data(), kBatch, kSeq, kHeads)),
          grape::PathIntegral<float>(kHeads).at(
              grape::blhd(features.data(), kBatch, kSeq, kHeads, kWidth))};
}

std::vector<float> apply(const Actions& actions, grape::AttendWorkspace<float>& workspace) {
  std::vector<float> results, q = tokens(kSeq, kHeads, 3), k = tokens(kSeq, kKeyHeads, 4);
  std::vector<float> v = tokens(kSeq, kKeyHeads, 5), d_out = tokens(kSeq, kHeads, 6);
  for (const auto* rotation : {&actions.planes, &actions.frame}) {
    std::vector<float> x = q;
    grape::apply_rotation(*rotation, view(x, kSeq, kHeads));
    append(results, x);
  }
  for (const auto* bias : {&actions.gates, &actions.edges}) {
    std::vector<float> scores(static_cast<std::size_t>(kBatch * kHeads * kSeq * kSeq));
    grape::add_bias(*bias, grape::bhqk(scores.data(), kBatch, kHeads, kSeq, kSeq));
    for (const float s : scores) results.push_back(std::isfinite(s) ? s : -1.0f);

    std::vector<float> out(q.size()), d_q(q.size()), d_k(k.size()), d_v(v.size());
    std::vector<float> log_sum(static_cast<std::size_t>(kBatch * kHeads * kSeq));
    grape::AttendOptions<float> options{.rotation = &actions.planes, .bias = bias, .causal = true};
    options.log_sum = log_sum;
    options.workspace = &workspace;
    grape::attend(view(q, kSeq, kHeads), view(k, kSeq, kKeyHeads), view(v, kSeq, kKeyHeads),
                  view(out, kSeq, kHeads), options);
    grape::attend_vjp({view(q, kSeq, kHeads), view(k, kSeq, kKeyHeads), view(v, kSeq, kKeyHeads),
                       view(out, kSeq, kHeads)},
                      view(d_out, kSeq, kHeads),
                      {.q = view(d_q, kSeq, kHeads),
                       .k = view(d_k, kSeq, kKeyHeads),
                       .v = view(d_v, kSeq, kKeyHeads)},
                      options);
    for (const auto* x : {&out, &log_sum, &d_q, &d_k, &d_v}) append(results, *x);
  }
  return results;
}

std::vector<float> apply_half(const Actions& actions) {
  std::vector<float> results = tokens(kSeq, kHeads, 7);
  std::vector<Eigen::half> x(results.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<Eigen::half>(results[i]);
  grape::apply_rotation(actions.planes, grape::blhd(x.data(), kBatch, kSeq, kHeads, kDim));
  for (std::size_t i = 0; i < x.size(); ++i) results[i] = static_cast<float>(x[i]);
  return results;
}

std::vector<float> decode(grape::KeyValueCache<float>& cache, grape::Index first) {
  constexpr grape::Index kNew = 33;
  const double seed = static_cast<double>(first);
  std::vector<float> q = tokens(kNew, kHeads, seed), k = tokens(kNew, kKeyHeads, seed + 0.1);
  std::vector<float> v = tokens(kNew, kKeyHeads, seed + 0.2), out(q.size());
  const auto turn = grape::RoPE<float>(grape::spectrum::log_uniform(kDim))
                        .at(grape::Positions::range(first, kNew));
  cache.append(view(k, kNew, kKeyHeads), view(v, kNew, kKeyHeads), &turn);
  grape::attend(view(q, kNew, kHeads), cache, view(out, kNew, kHeads),
                {.rotation = &turn, .causal = true});
  return out;
}

}  // namespace

const Side SIDE{prepare, apply, apply_half, decode};
