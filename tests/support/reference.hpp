// SPDX-License-Identifier: Apache-2.0
// Rotations and biases from their definitions, in long double and without the library's kernels.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace reference {

using Index = std::ptrdiff_t;

static_assert(std::numeric_limits<long double>::digits >= 64,
              "the exact angles below need a long double of 64 bits");

struct Rotation {
  long double cos = 1;
  long double sin = 0;
};

inline Rotation compose(const Rotation& a, const Rotation& b) {
  return {a.cos * b.cos - a.sin * b.sin, a.sin * b.cos + a.cos * b.sin};
}

// cos and sin of n * theta to a few 2^-64: n is cut into digits of 11 bits, so that each product
// with the 53 bits of theta is exact, and the parts are joined by the addition theorem.
inline Rotation turn(double theta, std::int64_t n) {
  auto rest = n < 0 ? ~static_cast<std::uint64_t>(n) + 1 : static_cast<std::uint64_t>(n);
  Rotation out;
  for (int shift = 0; rest != 0; rest >>= 11, shift += 11) {
    const auto digit = static_cast<long double>(rest & 0x7ff);
    if (digit == 0) continue;
    const long double angle = std::ldexp(digit * static_cast<long double>(theta), shift);
    out = compose(out, {std::cos(angle), std::sin(angle)});
  }
  if (n < 0) out.sin = -out.sin;
  return out;
}

// The same at a real position; the part behind the point is exact to 2^-64 of its angle.
inline Rotation turn(double theta, double x) {
  const double whole = std::floor(x);
  const long double angle = static_cast<long double>(x - whole) * static_cast<long double>(theta);
  return compose(turn(theta, static_cast<std::int64_t>(whole)), {std::cos(angle), std::sin(angle)});
}

struct Shape {
  Index batch, seq, heads, dim;
  Index size() const { return batch * seq * heads * dim; }
};

// Planes on coordinates first + [0, 2 * planes), [sets, planes] frequencies.
struct Planes {
  bool half_split = false;
  Index sets = 1;
  Index planes = 0;
  std::vector<double> theta{};
  double factor = 1;
  Index first = 0;

  Index low(Index m) const { return first + (half_split ? m : 2 * m); }
  Index high(Index m) const { return first + (half_split ? m + planes : 2 * m + 1); }
  Index set(Index head, Index heads) const { return head * sets / heads; }
  double frequency(Index s, Index m) const {
    return theta[static_cast<std::size_t>(s * planes + m)];
  }
};

// position(batch, token), or position(batch, token, set, plane) where planes turn by different
// ones.
template <class PositionOf>
auto position_at(const PositionOf& position, Index b, Index t, Index set, Index m) {
  if constexpr (requires { position(b, t, set, m); }) {
    return position(b, t, set, m);
  } else {
    return position(b, t);
  }
}

enum class Way { forward, transpose, inverse };

// Dense [batch, seq, heads, dim] results, and for every entry the sum of the magnitudes that it is
// made of, which rounding errors are measured by (0 where the entry is not turned).
struct Rotated {
  std::vector<long double> value;
  std::vector<long double> scale;
};

template <class PositionOf>
Rotated rotate(const Planes& p, const Shape& s, const std::vector<double>& x,
               const PositionOf& position, Way way = Way::forward) {
  Rotated out;
  out.value.assign(x.begin(), x.end());
  out.scale.assign(x.size(), 0);
  const long double factor = p.factor;
  const long double gain = way == Way::inverse ? 1 / factor : factor;
  for (Index b = 0; b < s.batch; ++b) {
    for (Index t = 0; t < s.seq; ++t) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index m = 0; m < p.planes; ++m) {
          const Index set = p.set(h, s.heads);
          const double theta = p.frequency(set, m);
          if (theta == 0 && p.factor == 1) continue;
          Rotation r = turn(theta, position_at(position, b, t, set, m));
          if (way != Way::forward) r.sin = -r.sin;
          const Index row = ((b * s.seq + t) * s.heads + h) * s.dim;
          const auto i = static_cast<std::size_t>(row + p.low(m));
          const auto j = static_cast<std::size_t>(row + p.high(m));
          out.value[i] = gain * (x[i] * r.cos - x[j] * r.sin);
          out.value[j] = gain * (x[i] * r.sin + x[j] * r.cos);
          out.scale[i] = out.scale[j] = gain * (std::fabs(x[i]) + std::fabs(x[j]));
        }
      }
    }
  }
  return out;
}

// sum over tokens and heads of w . d(a R(n theta) x)/d theta for every frequency.
template <class PositionOf>
std::vector<long double> frequency_gradient(const Planes& p, const Shape& s,
                                            const std::vector<double>& x,
                                            const std::vector<double>& w,
                                            const PositionOf& position) {
  std::vector<long double> out(p.theta.size(), 0);
  for (Index b = 0; b < s.batch; ++b) {
    for (Index t = 0; t < s.seq; ++t) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index m = 0; m < p.planes; ++m) {
          const Index set = p.set(h, s.heads);
          const auto at = position_at(position, b, t, set, m);
          const Rotation r = turn(p.frequency(set, m), at);
          const Index row = ((b * s.seq + t) * s.heads + h) * s.dim;
          const auto i = static_cast<std::size_t>(row + p.low(m));
          const auto j = static_cast<std::size_t>(row + p.high(m));
          const long double n = static_cast<long double>(at) * p.factor;
          out[static_cast<std::size_t>(set * p.planes + m)] +=
              n * (w[i] * (-x[i] * r.sin - x[j] * r.cos) + w[j] * (x[i] * r.cos - x[j] * r.sin));
        }
      }
    }
  }
  return out;
}

// ALiBi's bias of a key `distance` = key position - query position away; above the diagonal the
// given value.
inline long double linear_bias(double slope, std::int64_t distance, long double future) {
  return distance <= 0 ? static_cast<long double>(slope) * static_cast<long double>(distance)
                       : future;
}

}  // namespace reference
