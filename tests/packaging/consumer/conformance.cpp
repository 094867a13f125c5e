// SPDX-License-Identifier: Apache-2.0
// A user's own rotation, checked by the kit that is installed beside grape.
#include <cmath>
#include <cstddef>
#include <cstdio>

#include <grape/interop/conformance.hpp>

int main() {
  using grape::Index;
  const auto kernel = [](const grape::conformance::RotationCase& c, grape::TensorView<float> x) {
    for (Index t = 0; t < x.seq(); ++t) {
      for (std::size_t m = 0; m < c.frequencies.size(); ++m) {
        const auto at = static_cast<std::size_t>(t);
        const double angle = static_cast<double>(c.positions[at]) * c.frequencies[m];
        for (Index h = 0; h < x.heads(); ++h) {
          float& first = x(0, t, h, static_cast<Index>(2 * m));
          float& second = x(0, t, h, static_cast<Index>(2 * m + 1));
          const double a = first, b = second;
          first = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
          second = static_cast<float>(a * std::sin(angle) + b * std::cos(angle));
        }
      }
    }
  };
  const auto report = grape::conformance::check_rotation<float>(kernel);
  std::fputs(report.text().c_str(), stdout);
  return report.passed() ? 0 : 1;
}
