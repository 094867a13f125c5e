// SPDX-License-Identifier: Apache-2.0
// GRAPE-AP from its definition (equations 5.1 and 5.2), in long double.
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "support/reference.hpp"

namespace reference {

struct EdgeRule {
  bool authors = false;
  bool half_split = false;
  double epsilon = 0;
  std::function<long double(long double)> link = [](long double x) {
    return (x < 0 ? x : 0) - std::log1p(std::exp(-std::fabs(x)));
  };
};

// Of dense features [batch, seq, heads, width]: edges psi(t, l) = g(<p_t, R_l p_l> / width).
class Edges {
 public:
  Edges(std::vector<double> features, Shape shape, EdgeRule rule)
      : features_(std::move(features)), shape_(shape), rule_(std::move(rule)) {}

  std::vector<long double> probe(Index b, Index h, Index t, bool normalised) const {
    const double* x = features_.data() + ((b * shape_.seq + t) * shape_.heads + h) * shape_.dim;
    std::vector<long double> p(x, x + shape_.dim);
    if (!normalised) return p;
    long double sum = 0;
    for (const long double v : p) sum += v * v;
    const long double rms = std::sqrt(sum / static_cast<long double>(shape_.dim) + rule_.epsilon);
    for (long double& v : p) v /= rms;
    return p;
  }

  // <p_t, R_l p_l> / width, and in `scale` |p_t| |p_l| / width, which its rounding is measured by.
  long double product(Index b, Index h, Index t, Index l, long double* scale = nullptr) const {
    const std::vector<long double> p = probe(b, h, t, !rule_.authors);
    const std::vector<long double> k = probe(b, h, l, true);
    const Rotation r = turn(1.0, static_cast<std::int64_t>(rule_.authors ? -l : l));
    const Planes planes{rule_.half_split, 1, shape_.dim / 2};
    std::vector<long double> turned = k;
    for (Index m = 0; m < shape_.dim / 2; ++m) {
      const auto i = static_cast<std::size_t>(planes.low(m));
      const auto j = static_cast<std::size_t>(planes.high(m));
      turned[i] = k[i] * r.cos - k[j] * r.sin;
      turned[j] = k[i] * r.sin + k[j] * r.cos;
    }
    long double sum = 0, p2 = 0, k2 = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      sum += p[i] * turned[i];
      p2 += p[i] * p[i];
      k2 += k[i] * k[i];
    }
    if (scale != nullptr) *scale = std::sqrt(p2 * k2) / static_cast<long double>(shape_.dim);
    return sum / static_cast<long double>(shape_.dim);
  }
  long double edge(Index b, Index h, Index t, Index l) const {
    return rule_.link(product(b, h, t, l));
  }
  struct Entry {
    double bias;
    double tolerance;
  };
  // Entries (t, j), j = 0..t, and last j = -1, the sum of every edge. The tolerance says how far a
  // sum may be off in a scalar of that unit roundoff, for a link that is 1-Lipschitz: an edge by
  // the roundings of a product of `width` terms and of its factors (probes and divisor, 6 in all)
  // and by those of its link (4 ulp), and the sum by those of 5 steps in a register and of its end.
  std::vector<Entry> row(double unit, Index b, Index h, Index t) const {
    std::vector<Entry> out(static_cast<std::size_t>(t + 2));
    long double bias = 0, off = 0;
    for (Index l = t; l >= -1; --l) {
      out[static_cast<std::size_t>(l >= 0 ? l : t + 1)] = {static_cast<double>(bias),
                                                           static_cast<double>(off)};
      if (l < 0) break;
      long double scale = 0;
      const long double g = rule_.link(product(b, h, t, l, &scale));
      bias += g;
      off += unit * (static_cast<long double>(shape_.dim + 6) * scale + (8 + 6) * std::fabs(g));
    }
    return out;
  }

 private:
  std::vector<double> features_;
  Shape shape_;
  EdgeRule rule_;
};

}  // namespace reference
