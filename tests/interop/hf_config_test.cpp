// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/hf_config.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "support/errors.hpp"
#include "support/golden.hpp"

namespace {

using grape::hf_rope;
using grape::HfRope;
using grape::Index;
using grape::Pairing;
using nlohmann::json;

void expect_spectrum(const grape::Spectrum& got, const std::vector<double>& want,
                     double attention_factor) {
  ASSERT_EQ(static_cast<std::size_t>(got.planes()), want.size());
  for (std::size_t m = 0; m < want.size(); ++m) {
    // The reference computes in float64, some of it in another order.
    EXPECT_NEAR(got.frequencies()[m], want[m], 64 * 0x1p-53 * want[m]) << m;
  }
  EXPECT_NEAR(got.attention_factor(), attention_factor, 8 * 0x1p-53 * attention_factor);
}

// A model config around a scaling, as old (rope_scaling) and new (rope_parameters) transformers
// write it.
json config_of(json scaling, double theta, Index head_dim, Index context, bool parameters) {
  json config = {{"hidden_size", 4 * head_dim},
                 {"num_attention_heads", 4},
                 {"max_position_embeddings", context}};
  if (parameters) {
    scaling["rope_theta"] = theta;
    config["rope_parameters"] = scaling;
  } else {
    config["rope_theta"] = theta;
    config["rope_scaling"] = scaling;
  }
  return config;
}

TEST(HfConfig, GoldenScalingsInBothLayouts) {
  int cases = 0;
  for (const std::string& name : golden::families("rope_scaling")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    json scaling = {{"rope_type", c.config<std::string>("rope_type")}};
    for (const auto& [key, value] : c.json().at("config").items()) {
      for (const char* own : {"factor", "low_freq_factor", "high_freq_factor", "short_factor",
                              "long_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
                              "original_max_position_embeddings"}) {
        if (key == own) scaling[key] = value;
      }
    }
    const auto head_dim = c.config<Index>("head_dim");
    for (const bool parameters : {false, true}) {
      json config = config_of(scaling, c.config<double>("rope_theta"), head_dim,
                              c.config<Index>("max_position_embeddings"), parameters);
      for (const auto& [key, value] : c.json().at("config").items()) {
        if (key.rfind("config_", 0) == 0) config[key.substr(7)] = value;
      }
      // Without a length Hugging Face takes the short factors.
      const HfRope got = hf_rope(config, {.sequence_length = c.config_or<Index>("seq_len", 1)});
      expect_spectrum(got.spectrum, c.outputs("inv_freq_f64").data,
                      c.outputs("attention_factor").data.at(0));
      EXPECT_EQ(got.softmax_scale_factor, 1);
      EXPECT_EQ(got.rope_type, c.config<std::string>("rope_type"));
    }
    ++cases;
  }
  EXPECT_GE(cases, 13);
}

TEST(HfConfig, GoldenSpectra) {
  int cases = 0;
  const golden::Case file = golden::load("spectra");
  for (const json& c : file.json().at("cases")) {
    const auto type = c.at("type").get<std::string>();
    SCOPED_TRACE(type);
    const auto dim = c.at("dim").get<Index>();
    json scaling = {{"type", type == "dynamic_ntk" ? "dynamic" : type}};
    Index context = 131072, length = 131072;
    for (const char* key :
         {"factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"}) {
      if (c.contains(key)) scaling[key] = c.at(key);
    }
    if (c.contains("original_max_position")) {
      scaling["original_max_position_embeddings"] = c.at("original_max_position");
    }
    if (c.contains("factors")) scaling["short_factor"] = scaling["long_factor"] = c.at("factors");
    if (c.contains("max_position")) context = c.at("max_position").get<Index>();
    if (c.contains("seq_len")) length = c.at("seq_len").get<Index>();
    const HfRope got = hf_rope(config_of(scaling, c.at("base").get<double>(), dim, context, false),
                               {.sequence_length = length});
    expect_spectrum(got.spectrum, c.at("freq").get<std::vector<double>>(),
                    c.at("attention_factor").get<double>());
    ++cases;
  }
  EXPECT_GE(cases, 6);
}

// Fields of published configs, as they stand in them.

TEST(HfConfig, Llama31) {
  const json config = json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "model_type": "llama",
    "max_position_embeddings": 131072, "num_attention_heads": 32, "num_key_value_heads": 8,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "vocab_size": 128256})");
  const HfRope got = hf_rope(config);
  EXPECT_EQ(got.spectrum.rotary_dim(), 128);
  EXPECT_EQ(got.pairing, Pairing::half_split);
  EXPECT_EQ(got.slice.begin, 0);
  const grape::Spectrum want =
      grape::spectrum::llama3(128, 500000.0, {.factor = 8, .original_max_position = 8192});
  expect_spectrum(got.spectrum, {want.frequencies().begin(), want.frequencies().end()}, 1);
}

TEST(HfConfig, Qwen25WithYarn) {
  const json config = json::parse(R"({
    "hidden_size": 3584, "model_type": "qwen2", "max_position_embeddings": 32768,
    "num_attention_heads": 28, "rope_theta": 1000000.0, "sliding_window": 131072,
    "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}})");
  const HfRope got = hf_rope(config);
  EXPECT_NEAR(got.spectrum.attention_factor(), 0.1 * std::log(4.0) + 1, 1e-15);
  EXPECT_EQ(got.spectrum.rotary_dim(), 128);
  EXPECT_EQ(got.softmax_scale_factor, 1);
}

TEST(HfConfig, DeepSeekV3) {
  const json config = json::parse(R"({
    "hidden_size": 7168, "model_type": "deepseek_v3", "max_position_embeddings": 163840,
    "num_attention_heads": 128, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "rope_theta": 10000,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
                     "type": "yarn"}})");
  const HfRope got = hf_rope(config);
  EXPECT_EQ(got.spectrum.rotary_dim(), 64);
  EXPECT_EQ(got.slice.begin, 128);
  EXPECT_EQ(got.pairing, Pairing::interleaved);
  EXPECT_EQ(got.spectrum.attention_factor(), 1);
  const double mscale = 0.1 * std::log(40.0) + 1;
  EXPECT_NEAR(got.softmax_scale_factor, mscale * mscale, 1e-14);  // 1.87
}

TEST(HfConfig, Phi3WithLongRope) {
  json config = json::parse(R"({
    "hidden_size": 3072, "model_type": "phi3", "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096, "num_attention_heads": 32, "rope_theta": 10000.0,
    "rope_scaling": {"type": "su"}})");
  const std::vector<double> narrow(48, 1.25), wide(48, 4.0);
  config["rope_scaling"]["short_factor"] = narrow;
  config["rope_scaling"]["long_factor"] = wide;
  const grape::Spectrum plain = grape::spectrum::log_uniform(96, 10000.0);
  const HfRope at_4096 = hf_rope(config, {.sequence_length = 4096});
  const HfRope at_4097 = hf_rope(config, {.sequence_length = 4097});
  EXPECT_DOUBLE_EQ(at_4096.spectrum(0, 3), plain(0, 3) / 1.25);
  EXPECT_DOUBLE_EQ(at_4097.spectrum(0, 3), plain(0, 3) / 4);
  const double factor = std::sqrt(1 + std::log(32.0) / std::log(4096.0));
  EXPECT_NEAR(at_4097.spectrum.attention_factor(), factor, 1e-15);
  EXPECT_EQ(at_4097.rope_type, "longrope");
  // Phi-3.5-MoE names the factor of each list.
  config["rope_scaling"]["short_mscale"] = 1.1;
  config["rope_scaling"]["long_mscale"] = 1.2;
  EXPECT_EQ(hf_rope(config, {.sequence_length = 9}).spectrum.attention_factor(), 1.1);
  EXPECT_EQ(hf_rope(config, {.sequence_length = 5000}).spectrum.attention_factor(), 1.2);
  config["rope_scaling"].erase("short_mscale");
  EXPECT_TRUE(rejects([&] { hf_rope(config, {.sequence_length = 9}); },
                      "config.rope_scaling.long_mscale", "alone", "short_mscale and"));
}

TEST(HfConfig, Gemma3HasTwoBases) {
  const json old = json::parse(R"({
    "head_dim": 256, "hidden_size": 2560, "model_type": "gemma3_text", "num_attention_heads": 8,
    "max_position_embeddings": 131072, "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"}})");
  const json now = json::parse(R"({
    "head_dim": 256, "hidden_size": 2560, "model_type": "gemma3_text", "num_attention_heads": 8,
    "rope_parameters": {
      "full_attention": {"factor": 8.0, "rope_theta": 1000000.0, "rope_type": "linear"},
      "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}})");
  for (const json& config : {old, now}) {
    const HfRope full = hf_rope(config, {.layer_type = "full_attention"});
    const HfRope sliding = hf_rope(config, {.layer_type = "sliding_attention"});
    EXPECT_DOUBLE_EQ(full.spectrum(0, 0), 1.0 / 8);
    EXPECT_DOUBLE_EQ(sliding.spectrum(0, 64), std::pow(10000.0, -0.5));
    EXPECT_TRUE(
        rejects([&] { hf_rope(config); }, "options.layer_type", "\"\"", "sliding_attention"));
    EXPECT_TRUE(rejects([&] { hf_rope(config, {.layer_type = "linear_attention"}); },
                        "options.layer_type", "linear_attention", "full_attention"));
  }
}

TEST(HfConfig, PartialRotaryInEveryPlace) {
  const json base = {{"hidden_size", 256}, {"num_attention_heads", 4}, {"rope_theta", 10000.0}};
  const auto with = [&](const char* key, const json& value) {
    json out = base;
    out[key] = value;
    return out;
  };
  EXPECT_EQ(hf_rope(base).spectrum.rotary_dim(), 64);
  EXPECT_EQ(hf_rope(with("partial_rotary_factor", 0.5)).spectrum.rotary_dim(), 32);
  EXPECT_EQ(hf_rope(with("rotary_pct", 0.25)).spectrum.rotary_dim(), 16);
  EXPECT_EQ(hf_rope(with("rotary_dim", 48)).spectrum.rotary_dim(), 48);
  EXPECT_EQ(
      hf_rope(with("rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}))
          .spectrum.rotary_dim(),
      32);
  // Proportional: as many planes as the head has, the last of them at rest.
  const HfRope tail = hf_rope(
      with("rope_parameters", {{"rope_type", "proportional"}, {"partial_rotary_factor", 0.25}}));
  EXPECT_EQ(tail.spectrum.rotary_dim(), 64);
  EXPECT_NE(tail.spectrum(0, 7), 0);
  EXPECT_EQ(tail.spectrum(0, 8), 0);
  EXPECT_EQ(hf_rope(base, {.head_dim = 128}).spectrum.rotary_dim(), 128);
  json both = with("rope_scaling", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}});
  both["partial_rotary_factor"] = 0.25;
  EXPECT_TRUE(rejects([&] { hf_rope(both); }, "config.partial_rotary_factor", "0.25", "0.5"));
  EXPECT_TRUE(rejects([&] { hf_rope(with("partial_rotary_factor", 1.5)); }, "partial_rotary_factor",
                      "1.5", "(0, 1]"));
}

TEST(HfConfig, MRopeSectionsAreValues) {
  json config = {{"hidden_size", 256},
                 {"num_attention_heads", 2},
                 {"rope_theta", 1e6},
                 {"rope_scaling", {{"type", "mrope"}, {"mrope_section", {16, 24, 24}}}}};
  EXPECT_EQ(hf_rope(config).mrope_section, (std::vector<Index>{16, 24, 24}));
  config["rope_scaling"]["rope_type"] = "default";
  config["rope_scaling"]["mrope_interleaved"] = true;
  EXPECT_TRUE(hf_rope(config).mrope_interleaved);
  config["rope_scaling"]["mrope_section"] = {16, 24};
  EXPECT_TRUE(rejects([&] { hf_rope(config); }, "mrope_section", "40", "64 planes"));
  config["rope_scaling"].erase("mrope_section");
  EXPECT_TRUE(rejects([&] { hf_rope(config); }, "mrope_section", "nothing", "planes"));
}

TEST(HfConfig, YarnTakesWhatHuggingFaceTakes) {
  const auto factor_of = [](const json& more) {
    json scaling = {{"rope_type", "yarn"}, {"factor", 4.0}};
    scaling.update(more);
    return hf_rope(config_of(scaling, 1e6, 128, 32768, false)).spectrum.attention_factor();
  };
  const double plain = 0.1 * std::log(4.0) + 1;
  EXPECT_DOUBLE_EQ(factor_of(json::object()), plain);
  EXPECT_DOUBLE_EQ(factor_of({{"mscale", 2.0}}), plain);  // one of the two alone does not count
  EXPECT_DOUBLE_EQ(factor_of({{"attention_factor", 1.5}}), 1.5);
  EXPECT_DOUBLE_EQ(factor_of({{"attention_factor", nullptr}}), plain);
  EXPECT_DOUBLE_EQ(factor_of({{"mscale", 1.0}, {"mscale_all_dim", 0.5}}),
                   plain / (0.05 * std::log(4.0) + 1));
  const auto spectrum = [](bool truncate) {
    return hf_rope(config_of({{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", truncate}}, 1e6,
                             128, 32768, true))
        .spectrum;
  };
  EXPECT_NE(spectrum(true)(0, 25), spectrum(false)(0, 25));
}

TEST(HfConfig, RejectsInsteadOfGuessing) {
  const auto config = [](const json& scaling) {
    return config_of(scaling, 10000.0, 64, 4096, false);
  };
  const auto refuses = [&](const json& scaling, std::string_view argument, std::string_view got,
                           std::string_view wanted) {
    return rejects([&] { hf_rope(config(scaling)); }, argument, got, wanted);
  };
  EXPECT_TRUE(refuses({{"rope_type", "magic"}}, "config.rope_scaling.rope_type", "magic", "yarn"));
  EXPECT_TRUE(refuses({{"rope_type", "linear"}, {"factor", 2}, {"beta_fast", 32}},
                      "config.rope_scaling.beta_fast", "does not know", "linear"));
  EXPECT_TRUE(refuses({{"rope_type", "yarn"}, {"factor", 2}, {"llama_4_scaling_beta", 0.1}},
                      "llama_4_scaling_beta", "does not know", "yarn"));
  EXPECT_TRUE(
      refuses({{"rope_type", "linear"}}, "config.rope_scaling.factor", "nothing", "a number"));
  EXPECT_TRUE(
      refuses({{"rope_type", "linear"}, {"factor", "2"}}, "factor", "JSON string", "a number"));
  EXPECT_TRUE(refuses({{"rope_type", "linear"}, {"factor", 0.5}}, "factor", "0.5", ">= 1"));
  EXPECT_TRUE(refuses({{"factor", 2}}, "config.rope_scaling.rope_type", "nothing", "name"));
  EXPECT_TRUE(refuses({{"rope_type", "linear"}, {"type", "yarn"}, {"factor", 2}}, "type", "yarn",
                      "linear"));
  EXPECT_TRUE(refuses({{"rope_type", "dynamic"}, {"factor", 2}}, "options.sequence_length", "0",
                      "dynamic"));
  EXPECT_TRUE(
      refuses({{"rope_type", "dynamic"}, {"factor", 2}, {"original_max_position_embeddings", 2048}},
              "original_max_position_embeddings", "2048", "4096"));
  EXPECT_TRUE(refuses(
      {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}},
      "original_max_position_embeddings", "nothing", "tokens"));
  EXPECT_TRUE(refuses({{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 5.0}},
                      "config.rope_theta", "10000", "5"));
  EXPECT_TRUE(
      refuses({{"rope_type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 10.5}},
              "original_max_position_embeddings", "10.5", "whole"));
  json two = config({{"rope_type", "linear"}, {"factor", 2}});
  two["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_TRUE(rejects([&] { hf_rope(two); }, "config.rope_scaling", "differs", "one of the two"));
  EXPECT_TRUE(rejects(
      [] {
        hf_rope(json{{"head_dim", 64}});
      },
      "config.rope_theta", "nothing", "base"));
  EXPECT_TRUE(rejects(
      [] {
        hf_rope(json{{"rope_theta", 1e4}});
      },
      "config.head_dim", "nothing", "hidden_size"));
  EXPECT_TRUE(rejects([] { hf_rope(json::array()); }, "config", "JSON array", "object"));
  EXPECT_EQ(hf_rope(config(nullptr)).rope_type, "default");
  EXPECT_FALSE(hf_rope(config(nullptr)).pairing.has_value());
}

// Old and new names of one thing: either alone, both where they agree, never two values.
TEST(HfConfig, NamesOfOneThingMustAgree) {
  const json base = {{"head_dim", 64}, {"rope_theta", 10000.0}};
  const auto with = [&](json more, bool theta = true) {
    json out = base;
    if (!theta) out.erase("rope_theta");
    out.update(more);
    return out;
  };
  const auto refuses = [&](json more, std::string_view argument, std::string_view got,
                           std::string_view wanted) {
    return rejects([&] { hf_rope(with(more)); }, argument, got, wanted);
  };
  EXPECT_DOUBLE_EQ(hf_rope(with({{"rotary_emb_base", 500}}, false)).spectrum(0, 16),
                   std::pow(500.0, -0.5));
  EXPECT_NO_THROW(hf_rope(with({{"rotary_emb_base", 10000}})));
  EXPECT_TRUE(refuses({{"rotary_emb_base", 500}}, "config.rotary_emb_base", "500",
                      "config.rope_theta = 10000"));
  const json inside = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  EXPECT_TRUE(rejects(
      [&] {
        hf_rope(with({{"rope_parameters", inside}, {"rotary_emb_base", 600}}, false));
      },
      "config.rotary_emb_base", "600", "config.rope_parameters.rope_theta = 500"));

  EXPECT_EQ(hf_rope(with({{"partial_rotary_factor", 0.5}, {"rotary_pct", 0.5}, {"rotary_dim", 32}}))
                .spectrum.rotary_dim(),
            32);
  EXPECT_TRUE(refuses({{"partial_rotary_factor", 0.5}, {"rotary_pct", 0.25}}, "config.rotary_pct",
                      "0.25", "config.partial_rotary_factor = 0.5"));
  EXPECT_TRUE(refuses({{"partial_rotary_factor", 0.5}, {"rotary_dim", 48}}, "config.rotary_dim",
                      "48", "which is 32"));
  EXPECT_TRUE(refuses({{"rotary_pct", 0.25}, {"rotary_dim", 64}}, "config.rotary_dim", "64",
                      "config.rotary_pct = 0.25"));
  EXPECT_TRUE(refuses({{"rotary_dim", 32}, {"rope_parameters", {{"rope_type", "proportional"}}}},
                      "config.rotary_dim", "32", "partial_rotary_factor"));
  // GPT-J's names of the sizes.
  EXPECT_EQ(hf_rope({{"n_embd", 4096}, {"n_head", 16}, {"rotary_dim", 64}, {"rope_theta", 1e4}})
                .spectrum.rotary_dim(),
            64);
  EXPECT_TRUE(rejects(
      [] {
        hf_rope({{"n_embd", 64}, {"hidden_size", 32}, {"n_head", 2}, {"rope_theta", 1e4}});
      },
      "config.n_embd", "64", "config.hidden_size = 32"));
}

TEST(HfConfig, DimensionsAreThoseOfAHead) {
  const auto refuses = [](json more, std::string_view argument, std::string_view got,
                          std::string_view wanted) {
    json out = {{"head_dim", 64}, {"rope_theta", 10000.0}};
    out.update(more);
    return rejects([&] { hf_rope(out); }, argument, got, wanted);
  };
  EXPECT_TRUE(refuses({{"rotary_dim", 66}}, "config.rotary_dim", "66", "config.head_dim = 64"));
  EXPECT_TRUE(refuses({{"rotary_dim", -2}}, "config.rotary_dim", "-2", "[2, "));
  EXPECT_TRUE(refuses({{"rotary_dim", 33}}, "config.rotary_dim", "33", "even"));
  EXPECT_TRUE(refuses({{"rotary_pct", 0.01}}, "config.rotary_pct of config.head_dim", "0", "even"));
  EXPECT_TRUE(refuses({{"head_dim", 0}}, "config.head_dim", "0", "[2, "));
  EXPECT_TRUE(refuses({{"head_dim", -64}}, "config.head_dim", "-64", "[2, "));
  EXPECT_TRUE(refuses({{"head_dim", 65}}, "config.head_dim", "65", "even"));
  EXPECT_TRUE(refuses({{"head_dim", 4503599627370496}}, "config.head_dim", "4503599627370496",
                      "[2, 1048576]"));
  EXPECT_TRUE(rejects(
      [] {
        hf_rope({{"rope_theta", 1e4}}, {.head_dim = -4});
      },
      "options.head_dim", "-4", "[2, "));
  const json latent = {{"qk_rope_head_dim", 64}, {"qk_nope_head_dim", -1}};
  EXPECT_TRUE(refuses(latent, "config.qk_nope_head_dim", "-1", "[0, "));
}

TEST(HfConfig, MRopeSectionsArePlanes) {
  const auto refuses = [](const char* sections, std::string_view argument, std::string_view got,
                          std::string_view wanted) {
    const json config = {
        {"head_dim", 128},
        {"rope_theta", 1e6},
        {"rope_scaling", {{"type", "mrope"}, {"mrope_section", json::parse(sections)}}}};
    return rejects([&] { hf_rope(config); }, argument, got, wanted);
  };
  const std::string path = "config.rope_scaling.mrope_section";
  EXPECT_TRUE(refuses("[72, -24, 16]", path + "[0]", "72", "64 planes"));
  EXPECT_TRUE(refuses("[64, -24, 24]", path + "[1]", "-24", ">= 1"));
  EXPECT_TRUE(refuses("[64, 0]", path + "[1]", "0", ">= 1"));
  EXPECT_TRUE(refuses("[16.5, 24, 23.5]", path + "[0]", "16.5", "whole"));
  EXPECT_TRUE(refuses("[16, 24, null]", path + "[2]", "JSON null", "number"));
  EXPECT_TRUE(refuses("[64, 64]", path, "more", "64 planes"));
  EXPECT_TRUE(refuses("64", path, "JSON number (64)", "list"));
}

// Whatever a spectrum would refuse is refused by the name that the file has for it.
TEST(HfConfig, RangesAreThoseOfTheFields) {
  const auto refuses = [](const json& scaling, std::string_view field, std::string_view got,
                          std::string_view wanted, double theta = 1e4, Index head_dim = 64) {
    const json config = config_of(scaling, theta, head_dim, 4096, false);
    const bool whole = field.substr(0, 7) == "config.";
    const std::string path = (whole ? "" : "config.rope_scaling.") + std::string(field);
    return rejects([&] { hf_rope(config, {.sequence_length = 10}); }, "grape: " + path, got,
                   wanted);
  };
  EXPECT_TRUE(refuses({{"rope_type", "linear"}, {"factor", 0.5}}, "factor", "0.5", ">= 1"));
  EXPECT_TRUE(refuses({{"rope_type", "dynamic"}, {"factor", -1}}, "factor", "-1", ">= 1"));
  EXPECT_TRUE(
      refuses({{"rope_type", "linear"}, {"factor", 2}}, "config.rope_theta", "-3", "> 0", -3));
  EXPECT_TRUE(
      refuses({{"rope_type", "ntk"}, {"factor", 2}}, "config.hidden_size", "2", ">= 4", 1e4, 2));
  const auto yarn = [&](const char* key, const json& value, std::string_view got,
                        std::string_view wanted) {
    json scaling = {{"rope_type", "yarn"}, {"factor", 4.0}};
    scaling[key] = value;
    return refuses(scaling, key, got, wanted);
  };
  EXPECT_TRUE(yarn("beta_fast", 0.5, "0.5", "beta_slow = 1"));
  EXPECT_TRUE(yarn("beta_slow", 0, "0", "> 0"));
  EXPECT_TRUE(yarn("mscale", -1, "-1", ">= 0"));
  EXPECT_TRUE(yarn("mscale_all_dim", -1, "-1", ">= 0"));
  EXPECT_TRUE(yarn("attention_factor", 0, "0", "1e"));
  EXPECT_TRUE(yarn("original_max_position_embeddings", -5, "-5", ">= 1"));
  EXPECT_TRUE(
      refuses({{"rope_type", "yarn"}, {"factor", 4.0}}, "config.rope_theta", "1", "> 1", 1));
  json llama3 = {{"rope_type", "llama3"},
                 {"factor", 8},
                 {"low_freq_factor", 5},
                 {"high_freq_factor", 4},
                 {"original_max_position_embeddings", 100}};
  EXPECT_TRUE(refuses(llama3, "high_freq_factor", "4", ">= low_freq_factor = 5"));
  llama3["low_freq_factor"] = 4;  // equal, as in Llama 4
  EXPECT_NO_THROW(hf_rope(config_of(llama3, 1e4, 64, 4096, false)));
  llama3["low_freq_factor"] = 0;
  EXPECT_TRUE(refuses(llama3, "low_freq_factor", "0", "> 0"));
  json longrope = {{"rope_type", "longrope"},
                   {"short_factor", std::vector<double>(32, 1.0)},
                   {"long_factor", std::vector<double>(31, 1.0)}};
  EXPECT_TRUE(refuses(longrope, "long_factor", "31", "32"));
  longrope["long_factor"].push_back(-1);
  EXPECT_TRUE(refuses(longrope, "long_factor[31]", "-1", "> 0"));
  longrope["long_factor"][31] = 1;
  longrope["original_max_position_embeddings"] = 8192;
  EXPECT_TRUE(refuses(longrope, "config.max_position_embeddings", "4096", ">= 8192"));
  EXPECT_TRUE(refuses({{"rope_type", "default"}, {"rope_theta", 1e4}, {"sub", {{"factor", 2}}}},
                      "sub", "does not know", "default"));
}

// Layer types and fields that would stand for all of them are not mixed.
TEST(HfConfig, FieldsBesideLayerTypesAreRefused) {
  const json layers = {{"full_attention", {{"rope_theta", 1e6}, {"rope_type", "default"}}},
                       {"rope_theta", 1e4}};
  const json config = {{"head_dim", 64}, {"rope_parameters", layers}};
  EXPECT_TRUE(rejects([&] { hf_rope(config, {.layer_type = "full_attention"}); },
                      "config.rope_parameters.rope_theta", "beside", "full_attention"));
}

TEST(HfConfig, LayerTypesOfFlatConfigs) {
  json config = config_of({{"rope_type", "yarn"}, {"factor", 8.0}}, 5e5, 128, 8192, false);
  config["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_TRUE(rejects([&] { hf_rope(config, {.layer_type = "chunked"}); }, "options.layer_type",
                      "chunked", "layer_types"));
  EXPECT_EQ(hf_rope(config, {.layer_type = "sliding_attention"}).rope_type, "yarn");
  for (const bool parameters : {false, true}) {
    json olmo = config_of({{"rope_type", "yarn"}, {"factor", 8.0}}, 5e5, 128, 8192, parameters);
    olmo["model_type"] = "olmo3";
    olmo["layer_types"] = config["layer_types"];
    const HfRope sliding = hf_rope(olmo, {.layer_type = "sliding_attention"});
    const grape::Spectrum plain = grape::spectrum::log_uniform(128, 5e5);
    expect_spectrum(sliding.spectrum, {plain.frequencies().begin(), plain.frequencies().end()}, 1);
    EXPECT_EQ(sliding.rope_type, "default");
    EXPECT_EQ(hf_rope(olmo, {.layer_type = "full_attention"}).rope_type, "yarn");
  }
}

TEST(HfConfig, GemmaSaysItsConstants) {
  for (const char* type : {"gemma", "gemma2", "gemma3_text"}) {
    const json config = {{"model_type", type},
                         {"hidden_size", 3072},
                         {"num_attention_heads", 16},
                         {"rope_theta", 1e4}};
    EXPECT_TRUE(rejects([&] { hf_rope(config); }, "config.head_dim", "nothing", "options"));
    EXPECT_EQ(hf_rope(config, {.head_dim = 256}).spectrum.rotary_dim(), 256);
  }
  json config = {{"model_type", "gemma3_text"}, {"head_dim", 256}, {"rope_theta", 1e6}};
  EXPECT_TRUE(rejects([&] { hf_rope(config, {.layer_type = "sliding_attention"}); },
                      "config.rope_local_base_freq", "nothing", "base"));
  EXPECT_NO_THROW(hf_rope(config, {.layer_type = "full_attention"}));
  json flat = config;  // one object beside the base of the sliding layers
  flat["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  flat["rope_local_base_freq"] = 1e4;
  EXPECT_DOUBLE_EQ(hf_rope(flat, {.layer_type = "sliding_attention"}).spectrum(0, 64),
                   std::pow(1e4, -0.5));
  EXPECT_DOUBLE_EQ(hf_rope(flat, {.layer_type = "full_attention"}).spectrum(0, 0), 1.0 / 8);
  config["model_type"] = "gemma4_text";
  config["global_head_dim"] = 512;
  EXPECT_EQ(hf_rope(config, {.layer_type = "full_attention"}).spectrum.rotary_dim(), 512);
  EXPECT_EQ(hf_rope(config, {.layer_type = "sliding_attention"}).spectrum.rotary_dim(), 256);
}

TEST(HfConfig, OtherFieldsOfTheModel) {
  const auto with = [](json more) {
    json out = {{"head_dim", 64}, {"rope_theta", 1e4}};
    out.update(more);
    return out;
  };
  const auto refuses = [&](const char* key, const json& value) {
    return rejects([&] { hf_rope(with({{key, value}})); }, std::string("config.") + key, "", "");
  };
  for (const char* kind : {"nope", "absolute", "alibi"}) {
    EXPECT_TRUE(refuses("position_embedding_type", kind));
  }
  EXPECT_TRUE(refuses("alibi", true));
  EXPECT_TRUE(refuses("rotary", false));
  EXPECT_TRUE(refuses("rotary_scaling_factor", 2.0));
  EXPECT_TRUE(refuses("use_dynamic_ntk", true));
  EXPECT_NO_THROW(hf_rope(with({{"position_embedding_type", "rope"},
                                {"alibi", false},
                                {"rotary", true},
                                {"rotary_scaling_factor", nullptr},
                                {"use_dynamic_ntk", false}})));
  EXPECT_NO_THROW(hf_rope(with({{"rotary_scaling_factor", 1.0}})));
  for (const char* key : {"rope_pct", "rotary_emb_fraction"}) {
    EXPECT_EQ(hf_rope(with({{key, 0.25}})).spectrum.rotary_dim(), 16) << key;
    EXPECT_TRUE(rejects(
        [&] {
          hf_rope(with({{key, 0.25}, {"rotary_pct", 0.5}}));
        },
        key, "0.25", "rotary_pct = 0.5"));
  }
  // DeepSeek-OCR has DeepSeek's fields, but neither its latent attention nor its pairing.
  for (const json& plain :
       {json{{"qk_rope_head_dim", 0}, {"use_mla", false}}, json{{"qk_rope_head_dim", 0}},
        json::object(), json{{"qk_rope_head_dim", 32}, {"use_mla", false}}}) {
    json config = with(plain);
    config["model_type"] = "deepseek_v2";
    config["qk_nope_head_dim"] = 128;
    EXPECT_EQ(hf_rope(config).spectrum.rotary_dim(), 64);
    EXPECT_EQ(hf_rope(config).slice.begin, 0);
    EXPECT_EQ(hf_rope(config).pairing, Pairing::half_split);
  }
  const json latent = {{"model_type", "deepseek_v2"}, {"qk_rope_head_dim", 32}};
  EXPECT_EQ(hf_rope(with(latent)).pairing, Pairing::interleaved);
  const json mrope = {{"rope_type", "mrope"}, {"mrope_section", {8, 12, 12}}};
  EXPECT_EQ(hf_rope(with({{"rope_scaling", mrope}})).rope_type, "default");
  for (const char* type :
       {"qwen2_vl", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_vl_text", "qwen3_vl_text", "qwen3_next",
        "olmo3", "olmoe", "phimoe", "gemma3n_text", "gemma4_text", "glm4_moe", "ministral3"}) {
    EXPECT_EQ(hf_rope(with({{"model_type", type}})).pairing, Pairing::half_split) << type;
  }
  const json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"finetuned", true}};
  EXPECT_NO_THROW(hf_rope(config_of(yarn, 1e4, 64, 4096, false)));
}

// A message shows what it got, but neither all of it nor bytes that are no text.
TEST(HfConfig, MessagesOfStrangeValues) {
  const auto message = [](const json& config) -> std::string {
    try {
      hf_rope(config, {.layer_type = "\xff\xfe"});
    } catch (const grape::ArgumentError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const auto config = [](const json& scaling) {
    return json{{"head_dim", 64}, {"rope_theta", 1e4}, {"rope_scaling", scaling}};
  };
  const std::string bad = "a\xff\xc3", replaced = "a\xEF\xBF\xBD\xEF\xBF\xBD";
  EXPECT_EQ(message({{"head_dim", bad}, {"rope_theta", 1e4}}),
            "grape: config.head_dim: got a JSON string (\"" + replaced + "\"), wanted a number");
  EXPECT_NE(message(config({{"rope_type", bad}})).find('"' + replaced + '"'), std::string::npos);
  EXPECT_NE(message(config({{"rope_type", "linear"}, {"factor", 2}, {bad, 1}}))
                .find("config.rope_scaling." + replaced + ": got a key"),
            std::string::npos);
  EXPECT_NE(message(config({{"rope_type", "yarn"}, {"type", bad}})).find(replaced),
            std::string::npos);
  EXPECT_NE(message(config({{bad, json::object()}}))
                .find("layer types of config.rope_scaling: " + replaced),
            std::string::npos);
  EXPECT_NE(message(config({{"rope_type", "linear"}, {"factor", "1\n2"}})).find("(\"1\\n2\")"),
            std::string::npos);

  // Of a long text no more than its beginning, cut between characters.
  for (const std::string& letter : {std::string("x"), std::string("\xC3\xA9")}) {
    for (const std::string& start : {std::string(), std::string("y")}) {
      std::string text = start;
      while (text.size() < 100000) text += letter;
      const std::string got = message(config({{"rope_type", text}}));
      EXPECT_LT(got.size(), 250u);
      EXPECT_NE(got.find(letter + "..\""), std::string::npos) << got;
      EXPECT_EQ(got.find("\xEF\xBF\xBD"), std::string::npos) << got;
    }
  }
  json many = json::array();
  for (int i = 0; i < 10000; ++i) many.push_back(i);
  EXPECT_NE(message(config({{"rope_type", "linear"}, {"factor", many}}))
                .find("a JSON array of 10000 entries, wanted"),
            std::string::npos);
  json layers;
  for (int i = 0; i < 5000; ++i) layers["layer" + std::to_string(i)] = json::object();
  EXPECT_LT(message(config(layers)).size(), 500u);
}

}  // namespace
