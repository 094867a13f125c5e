// SPDX-License-Identifier: Apache-2.0
//
// What adding a bias to attention scores costs, against the least that any code can do with the
// same memory: one pass x[i] *= c in place.

#include <Eigen/Core>
#include <cmath>
#include <cstring>
#include <grape/grape.hpp>
#include <string>
#include <vector>

#include "support/ratio.hpp"

namespace {

using grape::Index;
using grape::Positions;

struct Shape {
  Index heads, queries, keys;
};

void scale(float* x, std::size_t count, float c) {
  for (std::size_t i = 0; i < count; ++i) x[i] *= c;
}

/// Scores of one batch entry, and a bias of them. They start at 0, so that hours of adding the same
/// bias leave numbers: what is not -infinity grows linearly.
bool bias_case(const std::string& name, const Shape& shape, const grape::BiasAction<float>& bias,
               double bound) {
  const auto count = static_cast<std::size_t>(shape.heads * shape.queries * shape.keys);
  bench::Buffer<float> x(count);
  float one = 1.0f;
  benchmark::DoNotOptimize(one);
  const auto scores = grape::bhqk(x.data(), 1, shape.heads, shape.queries, shape.keys);
  const auto result =
      bench::compare([&] { scale(x.data(), count, one); }, [&] { grape::add_bias(bias, scores); });
  return bench::report(name, result, bound);
}

/// Log forget gates around -0.05, as trained models have them.
std::vector<float> gates(Index seq, Index heads) {
  std::vector<float> out(static_cast<std::size_t>(seq * heads));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = grape::log_sigmoid(3.0f + std::sin(static_cast<float>(i) * 0.7f));
  }
  return out;
}

bool linear_and_cumulative() {
  const Index seq = bench::smoke() ? 64 : 1024, heads = 32;
  const Positions all = Positions::range(0, seq);
  const auto log_forget = gates(seq, heads);
  const grape::ALiBi<float> alibi(heads);
  const grape::FoX<float> fox(heads);
  const auto view = grape::blh(log_forget.data(), 1, seq, heads);
  const Shape shape{heads, seq, seq};
  bool ok = bias_case("ALiBi, masked", shape, alibi.at(all, all), 1.08);
  ok &= bias_case("ALiBi, symmetric", shape, alibi.at(all, all, grape::Future::symmetric), 1.08);
  ok &= bias_case("FoX, masked", shape, fox.at(view), 1.08);
  // The worst: queries that see every key.
  const grape::QueryRange last{seq - seq / 2, seq / 2};
  const Shape chunk{heads, seq / 2, seq};
  ok &= bias_case("ALiBi, last half of a prefill", chunk,
                  alibi.at(Positions::range(last.start, last.count), all), 1.08);
  ok &= bias_case("FoX, last half of a prefill", chunk, fox.at(view, last), 1.08);
  return ok;
}

/// Gates of both sides, computed beforehand as Encoder::at does.
bool gated() {
  const Index seq = bench::smoke() ? 64 : 1024, heads = 32, dim = 64;
  const Positions all = Positions::range(0, seq);
  std::vector<float> x(static_cast<std::size_t>(seq * heads * dim));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i) * 0.3f);
  const std::vector<double> weights(static_cast<std::size_t>(heads * dim), 0.1);
  const std::vector<double> omega(static_cast<std::size_t>(heads), 1.0);
  using grape::Gate;
  const grape::GatedALiBi<float, Gate::both> encoder(
      grape::alibi_slopes(heads),
      grape::GatedPath<Gate::both>(
          {.query_weights = weights, .key_weights = weights, .omega = omega}));
  const auto view = grape::blhd(x.data(), 1, seq, heads, dim);
  return bias_case("gated QK, masked", {heads, seq, seq}, encoder.at(view, view, all, all), 1.3);
}

/// GRAPE-AP against what its edges cost at least: a product [seq, width] x [width, seq] of every
/// head, and one pass over the scores.
bool path_integral_case(Index seq, Index width, double bound) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Index heads = 8;
  const Matrix p = Matrix::Random(seq, heads * width);
  const grape::PathIntegral<float> ap(heads);
  const auto bias = ap.at(grape::blhd(p.data(), 1, seq, heads, width));
  bench::Buffer<float> x(static_cast<std::size_t>(heads * seq * seq));
  const auto scores = grape::bhqk(x.data(), 1, heads, seq, seq);
  Matrix product(seq, seq);
  float one = 1.0f;
  benchmark::DoNotOptimize(one);
  const auto baseline = [&] {
    for (Index h = 0; h < heads; ++h) {
      const auto head = p.middleCols(h * width, width);
      product.noalias() = head * head.transpose();
      benchmark::DoNotOptimize(product.data());
      scale(&scores(0, h, 0, 0), static_cast<std::size_t>(seq * seq), one);
    }
  };
  const auto result = bench::compare(
      baseline, [&] { grape::add_bias(bias, scores); }, 15);
  return bench::report("GRAPE-AP, width " + std::to_string(width), result, bound);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) bench::smoke() = true;
  }
  bench::head("Bias added to fp32 scores [32 heads, 1024, 1024]", "pass x *= c", "add_bias");
  bool ok = linear_and_cumulative();
  ok &= gated();
  const Index seq = bench::smoke() ? 64 : 2048;
  bench::head("GRAPE-AP added to fp32 scores [8 heads, 2048, 2048]", "product, pass", "add_bias");
  ok &= path_integral_case(seq, 64, 2.0);
  ok &= path_integral_case(seq, 8, 2.0);
  std::printf("\n%s\n", ok ? "every bound holds" : "a bound was missed");
  return 0;
}
