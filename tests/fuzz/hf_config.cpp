// SPDX-License-Identifier: Apache-2.0
// Any text as a config.json: what is JSON is read or refused.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "fuzz.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/hf_config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(bytes, bytes + size);
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return 0;
  for (const grape::HfRopeOptions& options :
       {grape::HfRopeOptions{}, grape::HfRopeOptions{.sequence_length = 100000},
        grape::HfRopeOptions{.layer_type = "sliding_attention"},
        grape::HfRopeOptions{.head_dim = 16}}) {
    fuzz::accepted([&] {
      const grape::HfRope rope = grape::hf_rope(json, options);
      for (const double theta : rope.spectrum.frequencies()) {
        fuzz::require(grape::detail::is_finite(theta), "frequencies are finite");
      }
    });
  }
  return 0;
}
