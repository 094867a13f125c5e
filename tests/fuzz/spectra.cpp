// SPDX-License-Identifier: Apache-2.0
// Any parameters of a spectrum: accepted ones make finite frequencies.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fuzz.hpp"
#include "grape/core/scalar.hpp"
#include "grape/spectrum/concatenated.hpp"
#include "grape/spectrum/learned.hpp"
#include "grape/spectrum/linear.hpp"
#include "grape/spectrum/llama3.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/longrope.hpp"
#include "grape/spectrum/ntk.hpp"
#include "grape/spectrum/yarn.hpp"

namespace {

using grape::Index;

void require_finite(const grape::Spectrum& spectrum) {
  for (const double theta : spectrum.frequencies()) {
    fuzz::require(grape::detail::is_finite(theta), "frequencies are finite");
  }
  const double factor = spectrum.attention_factor();
  fuzz::require(grape::detail::is_finite(factor) && factor > 0, "an attention factor is positive");
}

std::vector<double> reals(FuzzedDataProvider& data) {
  std::vector<double> out;
  for (int i = data.ConsumeIntegralInRange(0, 8); i > 0; --i) out.push_back(fuzz::real(data));
  return out;
}

std::optional<double> maybe(FuzzedDataProvider& data) {
  if (data.ConsumeBool()) return std::nullopt;
  return fuzz::real(data);
}

grape::Spectrum any_spectrum(FuzzedDataProvider& data) {
  namespace s = grape::spectrum;
  const Index dim = data.ConsumeIntegralInRange<Index>(-2, 40);
  const double base = fuzz::real(data), factor = fuzz::real(data);
  const Index length = fuzz::integer<Index>(data), tokens = fuzz::integer<Index>(data);
  switch (data.ConsumeIntegralInRange(0, 10)) {
    case 0:
      return s::log_uniform(dim, base);
    case 1:
      return s::proportional(dim, base, factor);
    case 2:
      return s::linear(dim, base, factor);
    case 3:
      return s::ntk(dim, base, factor);
    case 4:
      return s::dynamic_ntk(
          dim, base,
          {.factor = factor, .original_max_position = length, .sequence_length = tokens});
    case 5:
      return s::yarn(dim, base,
                     {.factor = factor,
                      .original_max_position = length,
                      .beta_fast = fuzz::real(data),
                      .beta_slow = fuzz::real(data),
                      .truncate = data.ConsumeBool(),
                      .attention_factor = maybe(data),
                      .mscale = fuzz::real(data),
                      .mscale_all_dim = fuzz::real(data)});
    case 6:
      return s::llama3(dim, base,
                       {.factor = factor,
                        .original_max_position = length,
                        .low_freq_factor = fuzz::real(data),
                        .high_freq_factor = fuzz::real(data)});
    case 7:
      return s::longrope(dim, base,
                         {.short_factors = reals(data),
                          .long_factors = reals(data),
                          .original_max_position = length,
                          .sequence_length = tokens,
                          .factor = factor,
                          .attention_factor = maybe(data)});
    case 8:
      return s::learned(reals(data), factor);
    case 9:
      return s::concatenated({s::log_uniform(dim, base), grape::Spectrum(reals(data), factor)});
    default:
      return grape::Spectrum::per_head(reals(data), length, factor);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  fuzz::accepted([&] { require_finite(any_spectrum(data)); });
  return 0;
}
