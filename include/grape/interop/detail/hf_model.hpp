// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/interop/detail/hf_dimensions.hpp"
#include "grape/interop/detail/hf_object.hpp"

/// What a config says about its model beside the scaling.

namespace grape::inline v0 {
namespace detail {

/// Whether the scaling is one object for each layer type.
inline bool hf_per_layer(const HfObject& config) {
  const nlohmann::json* found = config.find("rope_parameters");
  if (found == nullptr) found = config.find("rope_scaling");
  if (found == nullptr || !found->is_object()) return false;
  const HfObject object(*found, "");
  if (object.find("rope_type") != nullptr || object.find("type") != nullptr) return false;
  return std::any_of(found->begin(), found->end(), [](const auto& x) { return x.is_object(); });
}

/// Of a config that says one thing for all layers: the layer type must be one that it has.
inline void hf_check_layer_type(const HfObject& config, const std::string& layer_type) {
  if (layer_type.empty() || hf_per_layer(config)) return;
  if (config.find("rope_local_base_freq") != nullptr) return;  // which knows the two it may be
  const nlohmann::json* types = config.find("layer_types");
  if (types != nullptr && types->is_array() &&
      std::find(types->begin(), types->end(), nlohmann::json(layer_type)) == types->end()) {
    fail("options.layer_type", hf_quoted(layer_type), "one of config.layer_types");
  }
  if (config.string("model_type") == "gemma3_text" && layer_type == "sliding_attention") {
    fail("config.rope_local_base_freq", "nothing", "the base of the sliding layers");
  }
}

/// Models whose positions are something else than RoPE, and scalings outside of the object.
inline void hf_check_rotary(const HfObject& config) {
  const std::string kind = config.string("position_embedding_type").value_or("");
  if (kind == "nope" || kind == "absolute" || kind == "alibi") {
    fail("config.position_embedding_type", hf_quoted(kind), "a model with RoPE");
  }
  if (config.boolean("alibi", false)) fail("config.alibi", "true", "a model with RoPE");
  if (!config.boolean("rotary", true)) fail("config.rotary", "false", "a model with RoPE");
  if (config.number("rotary_scaling_factor").value_or(1) != 1) {
    fail("config.rotary_scaling_factor", text(*config.number("rotary_scaling_factor")),
         "1 or null: a scaling is said in rope_scaling or rope_parameters");
  }
  if (config.boolean("use_dynamic_ntk", false)) {
    fail("config.use_dynamic_ntk", "true",
         "false: a scaling is said in rope_scaling or rope_parameters");
  }
}

/// How the published weights pair coordinates, by model_type.
inline std::optional<Pairing> hf_pairing(const HfObject& config) {
  const std::string type = config.string("model_type").value_or("");
  if (type == "deepseek_v2" && !hf_latent_dim(config)) return Pairing::half_split;
  const auto is = [&](std::string_view s) { return s == type; };
  constexpr std::string_view kInterleaved[] = {
      "codegen", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "ernie4_5",
      "glm",     "glm4",   "gptj",    "helium",      "llama4_text"};
  constexpr std::string_view kHalfSplit[] = {
      "falcon",        "gemma",         "gemma2",       "gemma3_text",
      "gpt_neox",      "gpt_oss",       "granite",      "llama",
      "mistral",       "mixtral",       "olmo",         "olmo2",
      "phi",           "phi3",          "qwen2",        "qwen2_moe",
      "qwen3",         "qwen3_moe",     "smollm3",      "stablelm",
      "starcoder2",    "qwen2_vl",      "qwen2_5_vl",   "qwen2_5_vl_text",
      "qwen2_vl_text", "qwen3_vl_text", "qwen3_next",   "olmo3",
      "olmoe",         "phimoe",        "gemma3n_text", "gemma4_text",
      "glm4_moe",      "ministral3"};
  if (std::any_of(std::begin(kInterleaved), std::end(kInterleaved), is)) {
    return config.boolean("rope_interleave", true) ? Pairing::interleaved : Pairing::half_split;
  }
  if (std::any_of(std::begin(kHalfSplit), std::end(kHalfSplit), is)) return Pairing::half_split;
  return std::nullopt;
}

}  // namespace detail
}  // namespace grape::inline v0
