// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "grape/core/error.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// How cosines and sines are rounded. `exact` is right; the others repeat the rounding of an engine
/// in which a checkpoint was trained or served, so that outputs match it. Positions go through
/// float there, too. Largest error of cos and sin for bases 10000 and 500000, head_dim 128, by
/// position:
///
/// | profile            | 4095   | 131071 | 16777215 | what it does                               |
/// |--------------------|--------|--------|----------|--------------------------------------------|
/// | exact              | 2.9e-8 | 3.0e-8 | 3.0e-8   | exact angles, rounded once                 |
/// | float32_product    | 1.4e-4 | 2.6e-3 | 0.72     | float(n) * float(theta), cos, sin of that  |
/// | float32_recurrence | 5.0e-4 | 1.2e-2 | 1.04     | float(n), times theta_1 / theta_0 a plane  |
/// | bfloat16_tables    | 2.0e-3 | 2.6e-3 | 0.72     | float32_product, rounded to bfloat16       |
///
/// float32_product is Hugging Face's rotary embedding in float32, bfloat16_tables the same under a
/// bfloat16 model (which, moreover, rounds the products of the rotation; grape does not).
/// float32_recurrence is ggml's. libm's float cosine may differ in the last bit between machines.
enum class AngleProfile { exact, float32_product, float32_recurrence, bfloat16_tables };

namespace detail {

/// A recurrence multiplies up a geometric spectrum alone. Ratios may differ by what frequencies
/// held in float do.
inline void check_profile(AngleProfile profile, const Spectrum& spectrum) {
  if (profile != AngleProfile::float32_recurrence) return;
  for (Index set = 0; set < spectrum.sets(); ++set) {
    if (spectrum.planes() > 1 && static_cast<float>(spectrum(set, 0)) == 0) {
      fail(text("frequencies[", set * spectrum.planes(), "]"), text(spectrum(set, 0)),
           "one that is not 0 in float, which AngleProfile::float32_recurrence divides by");
    }
    for (Index m = 2; m < spectrum.planes(); ++m) {
      // theta_m theta_0 = theta_(m-1) theta_1, and no 0 to divide by.
      const double wanted = spectrum(set, m - 1) * spectrum(set, 1);
      const double got = spectrum(set, m) * spectrum(set, 0);
      if (wanted == 0 || !(std::fabs(got - wanted) <= 1e-6 * std::fabs(wanted))) {
        fail(text("frequencies[", set * spectrum.planes() + m, "]"), text(spectrum(set, m)),
             "each frequency a fixed multiple of the one before, which "
             "AngleProfile::float32_recurrence multiplies up");
      }
    }
  }
}

}  // namespace detail
}  // namespace grape::inline v0
