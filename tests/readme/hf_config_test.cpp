// SPDX-License-Identifier: Apache-2.0
// The README's block about config.json.
#include <gtest/gtest.h>

#include <grape/grape.hpp>
#include <grape/interop/hf_config.hpp>
#include <string>

namespace {

TEST(Readme, HuggingFaceConfig) {
  const std::string config_json = R"({
    "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})";
  // [readme]
  auto config = grape::hf_rope(nlohmann::json::parse(config_json));  // interop/hf_config.hpp
  grape::RoPE<float, grape::Pairing::half_split> model(config.spectrum, config.slice);
  // [/readme]
  EXPECT_EQ(config.pairing, grape::Pairing::half_split);
  EXPECT_EQ(model.generator().spectrum().rotary_dim(), 128);
}

}  // namespace
