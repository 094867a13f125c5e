// SPDX-License-Identifier: Apache-2.0
// Any text as a config.json: what is JSON is read or refused, in words that are text and short.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "fuzz.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/hf_config.hpp"

namespace {

void read(const nlohmann::json& json, const grape::HfRopeOptions& options) {
  try {
    const grape::HfRope rope = grape::hf_rope(json, options);
    for (const double theta : rope.spectrum.frequencies()) {
      fuzz::require(grape::detail::is_finite(theta), "frequencies are finite");
    }
    fuzz::require(rope.slice.begin >= 0, "a slice begins at a coordinate");
    fuzz::require(rope.softmax_scale_factor > 0, "the softmax scale factor is positive");
    grape::Index planes = 0;
    for (const grape::Index section : rope.mrope_section) planes += section;
    fuzz::require(rope.mrope_section.empty() || planes == rope.spectrum.planes(),
                  "sections are all planes");
  } catch (const grape::ArgumentError& error) {
    const std::string text = error.what();
    fuzz::require(text.size() < 1000, "an error is short");
    (void)nlohmann::json(text).dump();  // which throws unless it is UTF-8
    throw;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(bytes, bytes + size);
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return 0;
  for (const grape::HfRopeOptions& options :
       {grape::HfRopeOptions{}, grape::HfRopeOptions{.sequence_length = 100000},
        grape::HfRopeOptions{.layer_type = "sliding_attention"},
        grape::HfRopeOptions{.head_dim = 16}}) {
    fuzz::accepted([&] { read(json, options); });
  }
  return 0;
}
