// SPDX-License-Identifier: Apache-2.0
//
// Attention against Eigen's own two matrix products of the same size, Q K^T and P V, which is what
// any implementation must do at least. Rates count the causal half of the work for attention, all
// of it for the products.

#include <Eigen/Dense>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <grape/grape.hpp>
#include <grape/interop/thread_pool.hpp>
#include <string>
#include <vector>

#include "support/ratio.hpp"

namespace {

using grape::AttendOptions;
using grape::Index;
using grape::Positions;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr Index kHeads = 8, kDim = 64;

/// Queries, keys, values, output and their gradients [1, seq, heads, dim].
struct Tensors {
  Index seq;
  std::vector<bench::Buffer<float>> memory;
  std::vector<float> log_sum;

  explicit Tensors(Index seq_) : seq(seq_), log_sum(static_cast<std::size_t>(kHeads * seq_)) {
    for (int i = 0; i < 8; ++i) {
      bench::Buffer<float> x(static_cast<std::size_t>(seq * kHeads * kDim));
      for (std::size_t n = 0; n < x.size(); ++n) {
        x[n] = std::sin(static_cast<float>(n % 7919) * (1.0f + static_cast<float>(i)));
      }
      memory.push_back(std::move(x));
    }
  }
  grape::TensorView<float> operator[](std::size_t i) {
    return grape::blhd(memory[i].data(), 1, seq, kHeads, kDim);
  }
};

/// A line of the table: the rate of the products over all of `flops`, that of attention, the ratio.
bool line(const std::string& name, const bench::Ratio& r, double product_flops, double flops,
          double bound) {
  const double products = product_flops / r.baseline * 1e-9, rate = flops / r.work * 1e-9;
  const double ratio = flops / product_flops / r.ratio;
  const bool ok = ratio >= bound;
  std::printf("| %-34s | %8.1f | %8.1f | %9.2f | %5.2f | >= %4.2f | %s |\n", name.c_str(), products,
              rate, r.work * 1e3, ratio, bound, ok ? "ok" : "MISSED");
  std::fflush(stdout);
  return ok;
}

/// Eigen's two products for one head.
class Products {
 public:
  explicit Products(Index seq)
      : q_(Matrix::Random(seq, kDim)),
        k_(Matrix::Random(seq, kDim)),
        v_(Matrix::Random(seq, kDim)),
        scores_(seq, seq),
        out_(seq, kDim) {}
  void operator()() {
    scores_.noalias() = q_ * k_.transpose();
    out_.noalias() = scores_ * v_;
  }
  double flops() const { return 4.0 * static_cast<double>(scores_.size()) * kDim; }

 private:
  Matrix q_, k_, v_, scores_, out_;
};

/// An encoding of the table: its options and, where it has some, its bias's gradients.
struct Encoding {
  std::string name;
  AttendOptions<float> options;
  double forward_bound;
  grape::BiasGradients gradients{};
};

bool prefill(Index seq) {
  if (bench::smoke()) seq = 128;
  Tensors x(seq);
  Products products(seq);
  const auto positions = Positions::range(0, seq);
  const auto alibi = grape::ALiBi<float>(kHeads).at(positions, positions);
  std::vector<float> gates(static_cast<std::size_t>(seq * kHeads));
  for (std::size_t i = 0; i < gates.size(); ++i) gates[i] = -0.001f * static_cast<float>(i % 13);
  const auto fox = grape::FoX<float>(kHeads).at(grape::blh(gates.data(), 1, seq, kHeads));
  const auto rope = grape::RoPE<float>(grape::spectrum::log_uniform(kDim, 10000.0)).at(positions);
  std::vector<double> d_gates(gates.size());
  std::vector<double> d_more_gates(gates.size());
  const std::vector<double> weights(kHeads * kDim, 0.1), ones(kHeads, 1.0), omega(kHeads, 0.01);
  const grape::GatedALiBi<float, grape::Gate::both> gated_encoder(
      ones, grape::GatedPath<grape::Gate::both>(
                {.query_weights = weights, .key_weights = weights, .omega = omega}));
  grape::BiasAction<float> gated;
  gated_encoder.at(x[0], x[1], positions, positions, grape::Future::mask, gated);
  constexpr Index kWidth = 8;  // of the paper's runs
  std::vector<float> features(gates.size() * kWidth);
  for (std::size_t i = 0; i < features.size(); ++i) {
    features[i] = std::cos(static_cast<float>(i % 1009));
  }
  const auto path =
      grape::PathIntegral<float>(kHeads).at(grape::blhd(features.data(), 1, seq, kHeads, kWidth));
  std::vector<double> d_features(features.size());
  grape::AttendWorkspace<float> workspace;
  const std::vector<Encoding> encodings{
      {"no encoding", {.causal = true}, 0.55},
      {"ALiBi", {.bias = &alibi, .causal = true}, 0.55},
      {"FoX", {.bias = &fox, .causal = true}, 0.45, {.log_forget = d_gates}},
      {"GRAPE-A-QK",
       {.bias = &gated, .causal = true},
       0.45,
       {.query_gates = d_gates, .key_gates = d_more_gates}},
      {"GRAPE-AP", {.bias = &path, .causal = true}, 0.30, {.features = d_features}},
      {"RoPE", {.rotation = &rope, .causal = true}, 0.45},
      {"RoPE, a workspace", {.rotation = &rope, .causal = true, .workspace = &workspace}, 0.45},
      {"RoPE and FoX",
       {.rotation = &rope, .bias = &fox, .causal = true},
       0.45,
       {.log_forget = d_gates}}};
  std::printf("\nCausal attention, %td heads, seq %td, head_dim %td, float (%s, one thread)\n\n",
              kHeads, seq, kDim, bench::machine().c_str());
  std::printf("| %-34s | products | attend   | attend ms | ratio | bound   |    |\n", "GFLOP/s");
  std::printf("|%s|---------:|---------:|----------:|------:|---------|----|\n",
              std::string(36, '-').c_str());
  bool ok = true;
  const double half = 2.0 * static_cast<double>(kHeads * seq * (seq + 1) * kDim);
  for (const Encoding& e : encodings) {
    const auto forward = bench::compare(
        [&] { products(); }, [&] { grape::attend(x[0], x[1], x[2], x[3], e.options); }, 9, 5e-3);
    ok &= line(e.name, forward, products.flops(), half, e.forward_bound);
  }
  for (Encoding e : encodings) {
    e.options.log_sum = x.log_sum;
    grape::attend(x[0], x[1], x[2], x[3], e.options);
    const auto backward = bench::compare(
        [&] { products(); },
        [&] {
          grape::attend_vjp({x[0], x[1], x[2], x[3]}, x[4],
                            {.q = x[5], .k = x[6], .v = x[7], .bias = e.gradients}, e.options);
        },
        9, 5e-3);
    ok &= line("backward, " + e.name, backward, products.flops(), 2.5 * half, 0.35);
  }
  return ok;
}

/// One token against cached ones: the time over that of a pass that reads the same bytes.
bool decode(Index cached) {
  if (bench::smoke()) cached = 256;
  const auto count = static_cast<std::size_t>(cached * kHeads * kDim);
  bench::Buffer<float> k(count, 0.5f), v(count, 0.25f), q(kHeads * kDim, 0.125f), out(q.size());
  grape::KeyValueCache<float> cache(1, kHeads, kDim, kDim);
  cache.append(grape::blhd(k.data(), 1, cached, kHeads, kDim),
               grape::blhd(v.data(), 1, cached, kHeads, kDim));
  const auto bias =
      grape::ALiBi<float>(kHeads).at(Positions::range(cached - 1, 1), Positions::range(0, cached));
  const auto query = grape::blhd(q.data(), 1, 1, kHeads, kDim);
  const auto result = grape::blhd(out.data(), 1, 1, kHeads, kDim);
  const auto read = [](const bench::Buffer<float>& x) {
    float sum[64] = {};
    for (std::size_t i = 0; i + 64 <= x.size(); i += 64) {
      for (std::size_t n = 0; n < 64; ++n) sum[n] += x[i + n];
    }
    benchmark::DoNotOptimize(sum);
  };
  bench::head("Decoding one token, 8 heads, head_dim 64, ALiBi", "a pass", "attend");
  return bench::report(std::to_string(cached) + " cached keys",
                       bench::compare(
                           [&] {
                             read(k);
                             read(v);
                           },
                           [&] { grape::attend(query, cache, result, {.bias = &bias}); }, 15, 5e-3),
                       1.3);
}

double peak_megabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

/// Long sequences: memory, and what skipping far keys saves.
void skipping(Index seq) {
  if (bench::smoke()) seq = 256;
  Tensors x(seq);
  const auto positions = Positions::range(0, seq);
  const auto alibi = grape::ALiBi<float>(kHeads).at(positions, positions);
  std::vector<float> gates(static_cast<std::size_t>(seq * kHeads), -0.05f);
  const auto fox = grape::FoX<float>(kHeads).at(grape::blh(gates.data(), 1, seq, kHeads));
  std::printf("\nSeq %td: leaving out keys of weight below 1e-7\n\n", seq);
  std::printf("| encoding | all, s | skip_below, s | times faster |\n|---|---:|---:|---:|\n");
  const auto line = [&](const char* name, const grape::BiasAction<float>& bias) {
    const auto run = [&](double skip_below) {
      grape::attend(x[0], x[1], x[2], x[3],
                    {.bias = &bias, .causal = true, .skip_below = skip_below});
    };
    const double all = bench::seconds([&] { run(0); }, 1);
    const double some = bench::seconds([&] { run(1e-7); }, 1);
    std::printf("| %s | %.3f | %.3f | %.2f |\n", name, all, some, all / some);
  };
  const double before = peak_megabytes();
  line("ALiBi", alibi);
  line("FoX, gates of 0.951", fox);
  std::printf("\nPeak memory %.0f MB, %.0f MB more than the tensors: %.0f bytes a token and head\n",
              peak_megabytes(), peak_megabytes() - before,
              (peak_megabytes() - before) * 1048576 / static_cast<double>(seq * kHeads));
}

/// The same pass on two threads, and, as what two threads of this machine can give at most, two
/// passes that share nothing, at once.
bool threads(Index seq) {
  if (bench::smoke()) seq = 256;
  Tensors x(seq), y(seq);
  const auto positions = Positions::range(0, seq);
  const auto alibi = grape::ALiBi<float>(kHeads).at(positions, positions);
  Eigen::ThreadPool pool(1);  // and the calling thread
  grape::AttendWorkspace<float> space, other_space;
  const AttendOptions<float> options{.bias = &alibi, .causal = true, .workspace = &space};
  const AttendOptions<float> others{.bias = &alibi, .causal = true, .workspace = &other_space};
  const auto run = [&](Tensors& t, const AttendOptions<float>& o, const auto& executor) {
    grape::attend(t[0], t[1], t[2], t[3], o, executor);
  };
  const auto result = bench::compare([&] { run(x, options, grape::Serial{}); },
                                     [&] { run(x, options, grape::ThreadPool(pool)); }, 9, 5e-3);
  const auto apart = bench::compare([&] { run(x, options, grape::Serial{}); },
                                    [&] {
                                      grape::ThreadPool(pool).run(2, [&](Index i) {
                                        i == 0 ? run(x, options, grape::Serial{})
                                               : run(y, others, grape::Serial{});
                                      });
                                    },
                                    9, 5e-3);
  bench::head("Two threads, ALiBi, seq " + std::to_string(seq), "one thread", "two");
  const bool ok = bench::report("times faster", result, 1.8, true);
  std::printf("\nTwo passes that share nothing, at once: %.2f times the rate of one\n",
              2 / apart.ratio);
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) bench::smoke() = true;
  }
  bool ok = prefill(2048);
  ok &= decode(8192);
  ok &= threads(2048);
  skipping(16384);
  std::printf("\n%s\n", ok ? "every bound holds" : "a bound was missed");
  return 0;
}
