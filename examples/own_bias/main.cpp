// SPDX-License-Identifier: Apache-2.0
//
// A bias that grape does not have: KERPLE's logarithmic one (Chi et al. 2022),
//
//   b_h(i, j) = -slope_h log(1 + rate (i - j))   for j <= i,
//
// as a path of one's own. A type that writes tiles is a BiasSource; an overload of `prepare` beside
// the path joins it to an Encoder. From then on it goes through every door: at(), add_bias,
// add_bias_vjp, attend, sums with other biases.

#include <cmath>
#include <cstdint>
#include <grape/grape.hpp>
#include <iomanip>
#include <iostream>
#include <limits>
#include <span>
#include <vector>

namespace mine {

using grape::Index;

/// How far a step back reaches; what it takes for one side are positions.
struct LogPath {
  using Input = grape::Positions;
  double rate = 1;
};

/// The bias between two runs of positions, written a tile at a time.
template <class A>
class LogBias {
 public:
  LogBias(std::span<const double> slopes, double rate, const grape::Positions& queries,
          const grape::Positions& keys)
      : slopes_(slopes.begin(), slopes.end()),
        rate_(rate),
        queries_(kept(queries)),
        keys_(kept(keys)) {}

  Index batch() const { return 1; }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return static_cast<Index>(queries_.size()); }
  Index keys() const { return static_cast<Index>(keys_.size()); }

  void tile(const grape::ScoreTile& where, A* out, Index row_stride) const {
    for_each(where, row_stride, [&](Index at, double log_distance) {
      out[at] = log_distance < 0 ? -std::numeric_limits<A>::infinity()
                                 : static_cast<A>(-slope(where.head) * log_distance);
    });
  }

  // What follows is optional: gradients, for the slopes here, and a bound that lets attention skip.
  grape::BiasGradientSizes gradient_sizes() const { return {.slopes = heads()}; }
  void tile_vjp(const grape::ScoreTile& where, const A* d_tile, Index row_stride,
                const double* /*before*/, const grape::BiasGradients& gradients) const {
    if (gradients.slopes.empty()) return;
    for_each(where, row_stride, [&](Index at, double log_distance) {
      if (log_distance < 0) return;
      gradients.slopes[static_cast<std::size_t>(where.head)] -=
          log_distance * static_cast<double>(d_tile[at]);
    });
  }
  A upper_bound(const grape::ScoreTile& /*where*/) const { return 0; }

 private:
  /// Positions refer to the caller's memory; an action outlives that.
  static std::vector<std::int64_t> kept(const grape::Positions& positions) {
    std::vector<std::int64_t> out;
    for (Index t = 0; t < positions.seq(); ++t) out.push_back(positions.integer(0, t));
    return out;
  }

  double slope(Index head) const { return slopes_[static_cast<std::size_t>(head)]; }

  /// visit(index, log(1 + rate (i - j))), or -1 for keys after the query.
  template <class Visit>
  void for_each(const grape::ScoreTile& where, Index row_stride, Visit visit) const {
    for (Index r = 0; r < where.queries; ++r) {
      for (Index c = 0; c < where.keys; ++c) {
        const std::int64_t back = queries_[static_cast<std::size_t>(where.query + r)] -
                                  keys_[static_cast<std::size_t>(where.key + c)];
        visit(r * row_stride + c, back < 0 ? -1 : std::log1p(rate_ * static_cast<double>(back)));
      }
    }
  }

  std::vector<double> slopes_;
  double rate_;
  std::vector<std::int64_t> queries_, keys_;
};

/// What Encoder::at finds; for integer positions that the batch shares.
template <class S, class A>
void prepare(const grape::UnipotentGenerator<S>& generator, const LogPath& path,
             const grape::Positions& queries, const grape::Positions& keys,
             grape::BiasAction<A>& action) {
  action = grape::BiasAction<A>(LogBias<A>(generator.slopes(), path.rate, queries, keys));
}

template <class Scalar>
using Kerple = grape::Encoder<grape::UnipotentGenerator<Scalar>, LogPath>;

}  // namespace mine

int main() {
  using grape::Index;
  constexpr Index heads = 2, seq = 64, dim = 8;
  const mine::Kerple<float> kerple(grape::UnipotentGenerator<float>({1.0, 0.25}), {.rate = 0.5});
  const auto all = grape::Positions::range(0, seq);
  const auto bias = kerple.at(all, all);

  std::cout << "bias of the last token, by distance:\n" << std::fixed << std::setprecision(3);
  for (Index back : {0, 1, 2, 4, 8, 16, 32, 63}) {
    std::cout << std::setw(4) << back << std::setw(9) << bias(0, 0, seq - 1, seq - 1 - back)
              << std::setw(9) << bias(0, 1, seq - 1, seq - 1 - back) << '\n';
  }

  // Through attention, alone and summed with one of grape's, as if written into the scores.
  std::vector<float> x(heads * seq * dim), out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.1F * static_cast<float>(i * i % 97));
  const auto tokens = grape::blhd(x.data(), 1, seq, heads, dim);
  grape::attend(tokens, tokens, tokens, grape::blhd(out.data(), 1, seq, heads, dim),
                {.bias = &bias});
  const auto both = grape::sum(bias, grape::ALiBi<float>(heads).at(all, all));
  std::vector<float> scores(heads * seq * seq, 0.0F);
  grape::add_bias(both, grape::bhqk(scores.data(), 1, heads, seq, seq));
  std::cout << "attention of the last token: " << out[(seq - 1) * heads * dim]
            << "\nsummed with ALiBi, one token back: " << scores[(seq - 1) * seq + seq - 2] << '\n';

  // Its gradient: of the sum of all scores with respect to the slopes.
  std::vector<float> ones(scores.size(), 1.0F);
  std::vector<double> d_slopes(heads, 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(ones.data(), 1, heads, seq, seq), {.slopes = d_slopes});
  double wanted = 0;
  for (Index back = 0; back < seq; ++back) {
    wanted -= static_cast<double>(seq - back) * std::log1p(0.5 * static_cast<double>(back));
  }
  std::cout << "gradient of a slope: " << d_slopes[0] << ", by hand " << wanted << '\n';
  return std::fabs(d_slopes[0] - wanted) < 1e-9 * std::fabs(wanted) ? 0 : 1;
}
