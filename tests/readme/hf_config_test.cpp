// SPDX-License-Identifier: Apache-2.0
// The README's block about config.json.
#include <gtest/gtest.h>

#include <grape/grape.hpp>
#include <grape/interop/hf_config.hpp>
#include <optional>
#include <string>

namespace {

TEST(Readme, HuggingFaceConfig) {
  constexpr grape::Index seq = 5;
  const std::string config_json = R"({
    "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})";
  // [readme]
  auto config = grape::hf_rope(nlohmann::json::parse(config_json));  // interop/hf_config.hpp
  auto action = grape::visit_pairing(config.pairing.value(), [&](auto pairing) {
    grape::RoPE<float, pairing> model(config.spectrum, config.slice);
    return model.at(grape::Positions::range(0, seq));  // of one type, whatever the pairing
  });
  // [/readme]
  EXPECT_EQ(action.pairing(), grape::Pairing::half_split);
  EXPECT_EQ(action.required_dim(), 128);
  EXPECT_EQ(action.seq(), seq);
  const auto of = [](const char* type) {
    return grape::hf_rope({{"model_type", type}, {"head_dim", 64}, {"rope_theta", 1e4}}).pairing;
  };
  EXPECT_EQ(of("cohere"), grape::Pairing::interleaved);
  EXPECT_EQ(of("no_such_model"), std::nullopt);
}

}  // namespace
