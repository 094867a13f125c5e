// SPDX-License-Identifier: Apache-2.0
// Any positions: an action made of accepted ones holds rotations.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fuzz.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace {

using grape::Index;

void require_rotations(const grape::RotationAction<float>& action) {
  for (Index t = 0; t < action.seq(); ++t) {
    const float* row = action.rows(0, t);
    for (Index m = 0; m < 4; ++m) {
      const float norm = row[m] * row[m] + row[4 + m] * row[4 + m];
      // Both are within an ulp of 1 of the cosine and the sine.
      fuzz::require(std::fabs(norm - 1) < 1e-6F, "a row holds cosines, then sines");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  static const grape::RoPE<float, grape::Pairing::half_split> rope(grape::spectrum::log_uniform(8));
  std::vector<std::int64_t> integers;
  std::vector<double> reals;
  for (int i = data.ConsumeIntegralInRange(0, 12); i > 0; --i) {
    integers.push_back(fuzz::integer(data));
    reals.push_back(fuzz::real(data));
  }
  const Index batch = fuzz::integer<Index>(data), seq = fuzz::integer<Index>(data);
  const Index axes = fuzz::integer<Index>(data);
  const std::int64_t start = fuzz::integer(data);
  fuzz::accepted([&] {
    const auto positions = grape::Positions::range(start, seq);
    if (seq <= 64) require_rotations(rope.at(positions));
  });
  fuzz::accepted([&] { require_rotations(rope.at(grape::Positions::shared(integers))); });
  fuzz::accepted([&] { require_rotations(rope.at(grape::Positions::real(reals))); });
  fuzz::accepted([&] { rope.at(grape::Positions::per_token(integers, batch, seq)); });
  fuzz::accepted([&] { rope.at(grape::Positions::real_per_token(reals, batch, seq)); });
  fuzz::accepted([&] {
    const auto positions = grape::Positions::axes(integers, axes, batch, seq);
    Index count = 1;  // of no tokens there may be any number of batch entries and axes
    for (const Index n : {positions.seq(), positions.batch(), positions.axis_count()}) {
      if (count != 0) count *= n;
    }
    fuzz::require(count == static_cast<Index>(integers.size()), "all positions are used");
    rope.at(positions);
  });
  fuzz::accepted([&] { grape::Positions::real_axes(reals, axes, batch, seq); });
  return 0;
}
