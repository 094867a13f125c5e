// SPDX-License-Identifier: Apache-2.0
//
// What a rotation in a frame of r directions costs, against its two skinny matrix products alone,
// and as r and d grow. Then what position encodings of any direction cost a token: LieRE's dense
// skew generator with a numerical matrix exponential (appendix F of the paper) against rank 2, rank
// r and the coordinate planes of RoPE, over d = 32 .. 256. Draws planes.svg and planes_growth.svg
// into the folder in which it is run.

#include <Eigen/Core>
#include <cmath>
#include <cstring>
#include <fstream>
#include <grape/grape.hpp>
#include <string>
#include <unsupported/Eigen/MatrixFunctions>
#include <vector>

#include "../examples/lm/plot.hpp"
#include "support/ratio.hpp"

namespace {

using grape::FrameMatrix;
using grape::Index;
using grape::LinearPath;
using grape::Positions;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// r directions in R^d that turn, in fp32.
grape::Encoder<grape::LearnedPlanes<float>, LinearPath> framed(Index d, Index r) {
  return grape::Encoder<grape::LearnedPlanes<float>, LinearPath>(grape::LearnedPlanes<float>(
      grape::frame::householder(FrameMatrix::Random(d, r)), grape::spectrum::log_uniform(r)));
}

bench::Buffer<float> random_rows(Index count) {
  bench::Buffer<float> x(static_cast<std::size_t>(count));
  Eigen::Map<Eigen::VectorXf>(x.data(), count).setRandom();
  return x;
}

/// U = X F and X += U F2^T with F2 = 0: the two products and nothing else, leaving X as it is.
struct Products {
  Products(float* x, Index rows, Index d, Index r)
      : tile(x, rows, d), frame(RowMajor::Random(r, d)), back(RowMajor::Zero(r, d)), u(rows, r) {}
  void operator()() {
    u.noalias() = tile * frame.transpose();
    tile.noalias() += u * back;
  }
  Eigen::Map<RowMajor> tile;
  RowMajor frame, back;
  Eigen::MatrixXf u;
};

bool against_products() {
  bench::head("Rotation in a frame, fp32, 4096 rows", "two products", "rotation");
  bool ok = true;
  for (const Index d : {64, 128, 256}) {
    for (const Index r : {2, 8, 32, 64}) {
      const Index rows = bench::smoke() ? 128 : 4096;
      bench::Buffer<float> x = random_rows(rows * d), y = x;
      Products products(y.data(), rows, d, r);
      const auto action = framed(d, r).at(Positions::range(0, rows));
      const auto view = grape::blhd(x.data(), 1, rows, 1, d);
      const auto result = bench::compare(
          products, [&] { grape::apply_rotation(action, view); }, 15);
      ok &= bench::report("d " + std::to_string(d) + ", r " + std::to_string(r), result, 1.5);
    }
  }
  return ok;
}

/// Nanoseconds a row of apply_rotation.
double row_time(Index d, Index r) {
  const Index rows = bench::smoke() ? 64 : 2048;
  bench::Buffer<float> x = random_rows(rows * d);
  const auto action = framed(d, r).at(Positions::range(0, rows));
  const auto view = grape::blhd(x.data(), 1, rows, 1, d);
  const auto result = bench::compare([] {}, [&] { grape::apply_rotation(action, view); }, 9);
  return result.work / static_cast<double>(rows) * 1e9;
}

/// A straight line through (size, time) by least squares: its largest deviation, relative.
double off_a_line(const std::vector<double>& size, const std::vector<double>& time) {
  Eigen::MatrixXd a(size.size(), 2);
  Eigen::VectorXd t(size.size());
  for (Index i = 0; i < t.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    t[i] = time[at];
    a.row(i) << 1 / t[i], size[at] / t[i];
  }
  const Eigen::VectorXd relative = Eigen::VectorXd::Ones(t.size());
  const Eigen::Vector2d line = (a.transpose() * a).ldlt().solve(a.transpose() * relative);
  return (a * line - relative).cwiseAbs().maxCoeff();
}

void growth(std::vector<lm::Panel>& panels) {
  std::printf("\nGrowth of the rotation in a frame, ns a row\n\n| r, with d = 128 |");
  const std::vector<double> ranks{8, 16, 32, 64, 128}, dims{64, 128, 256, 512, 1024};
  lm::Panel by_rank{"Linear in r (d = 128)", "directions r", "ns a row", {}, {}, {}};
  lm::Panel by_dim{"Linear in d (r = 16)", "head width d", "ns a row", {}, {}, {}};
  const auto table = [](const std::vector<double>& sizes, auto&& time_of, lm::Panel& panel) {
    std::vector<double> times;
    for (const double size : sizes) times.push_back(time_of(static_cast<Index>(size)));
    for (const double size : sizes) std::printf(" %.0f |", size);
    std::printf("\n| ns |");
    lm::Series series{"rank r, in a frame", {}, false};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::printf(" %.1f |", times[i]);
      series.points.push_back({sizes[i], times[i]});
    }
    std::printf("\nlargest deviation from a straight line: %.0f %%\n",
                100 * off_a_line(sizes, times));
    panel.series.push_back(series);
  };
  table(
      ranks, [](Index r) { return row_time(128, r); }, by_rank);
  std::printf("\n| d, with r = 16 |");
  table(
      dims, [](Index d) { return row_time(d, 16); }, by_dim);
  panels.push_back(by_rank);
  panels.push_back(by_dim);
}

struct Cost {
  double nanoseconds;  // to prepare a token's rotation and to turn one vector by it
  Index parameters;
};

template <class Encoder>
double encoder_time(const Encoder& encoder, Index d) {
  const Index rows = bench::smoke() ? 16 : 512;
  bench::Buffer<float> x = random_rows(rows * d);
  const auto view = grape::blhd(x.data(), 1, rows, 1, d);
  auto action = encoder.at(Positions::range(0, rows));
  const auto result = bench::compare([] {},
                                     [&] {
                                       encoder.at(Positions::range(0, rows), action);
                                       grape::apply_rotation(action, view);
                                     },
                                     9);
  return result.work / static_cast<double>(rows) * 1e9;
}

/// exp(n A) by scaling and squaring with Pade sums, and a product with it, for each token.
Cost liere(Index d) {
  Eigen::MatrixXf a = Eigen::MatrixXf::Random(d, d);
  a = ((a - a.transpose()) / std::sqrt(static_cast<float>(d))).eval();
  Eigen::VectorXf x = Eigen::VectorXf::Random(d);
  float n = 0;
  const auto result = bench::compare([] {},
                                     [&] {
                                       n = n < 512 ? n + 1 : 1;
                                       const Eigen::MatrixXf scaled = n * a, g = scaled.exp();
                                       x = (g * x).eval();
                                       benchmark::DoNotOptimize(x.data());
                                     },
                                     9);
  return {result.work * 1e9, d * (d - 1) / 2};
}

Cost rank_2(Index d) {
  const Eigen::VectorXf a = Eigen::VectorXf::Random(d), b = Eigen::VectorXf::Random(d);
  const grape::Encoder<grape::Rank2Generator<float>, LinearPath> encoder(a, b);
  return {encoder_time(encoder, d), 2 * d};
}

Cost rank_r(Index d, Index m) {
  const grape::Encoder<grape::CompactPlanes<float>, LinearPath> encoder(grape::OverlappingPlanes{
      FrameMatrix::Random(d, m), FrameMatrix::Random(d, m), Eigen::VectorXd::Random(m)});
  return {encoder_time(encoder, d), m * (2 * d + 1)};
}

Cost canonical(Index d) {
  return {encoder_time(grape::RoPE<float>(grape::spectrum::log_uniform(d)), d), d / 2};
}

void against_liere(std::vector<lm::Panel>& panels) {
  std::printf(
      "\nA token's rotation prepared and applied to one vector, fp32\n\n"
      "| d | LieRE ns | rank 2 ns | rank 16 ns | commuting ns | LieRE parameters | rank 2 | rank "
      "16 "
      "| commuting |\n|---|---|---|---|---|---|---|---|---|\n");
  lm::Panel times{"Time", "head width d", "log10 of ns a token", {}, {}, {}};
  lm::Panel counts{"Parameters", "head width d", "log10 of the parameters of a head", {}, {}, {}};
  for (const char* name :
       {"LieRE, dense", "rank 2", "rank 16, overlapping", "commuting, canonical"}) {
    times.series.push_back({name, {}, false});
    counts.series.push_back({name, {}, false});
  }
  for (const Index d : {32, 64, 128, 256}) {
    const Cost costs[] = {liere(d), rank_2(d), rank_r(d, 8), canonical(d)};
    std::printf("| %d |", static_cast<int>(d));
    for (const Cost& cost : costs) std::printf(" %.0f |", cost.nanoseconds);
    for (const Cost& cost : costs) std::printf(" %d |", static_cast<int>(cost.parameters));
    std::printf("\n");
    for (std::size_t i = 0; i < 4; ++i) {
      const auto x = static_cast<double>(d);
      times.series[i].points.push_back({x, std::log10(costs[i].nanoseconds)});
      counts.series[i].points.push_back({x, std::log10(static_cast<double>(costs[i].parameters))});
    }
  }
  panels.push_back(times);
  panels.push_back(counts);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) bench::smoke() = true;
  }
  const bool ok = against_products();
  std::vector<lm::Panel> compared, grown;
  growth(grown);
  against_liere(compared);
  const std::string where = "one thread, " + bench::machine() + ", fp32";
  std::ofstream out("planes.svg"), out_growth("planes_growth.svg");
  lm::write_svg(out, "Rotations of any direction", where, compared);
  lm::write_svg(out_growth, "Rotation in a frame", where, grown);
  std::printf("\nplanes.svg and planes_growth.svg drawn\n%s\n",
              ok ? "every bound holds" : "a bound was missed");
  return 0;
}
