// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/canonical_planes.hpp"
#include "grape/spectrum/linear.hpp"
#include "grape/spectrum/llama3.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/longrope.hpp"
#include "grape/spectrum/ntk.hpp"
#include "grape/spectrum/spectrum.hpp"
#include "grape/spectrum/yarn.hpp"

/// What a Hugging Face config.json says about rotary embeddings. Needs nlohmann_json, which no
/// other header of grape does: include this one by name.

namespace grape::inline v0 {

struct HfRopeOptions {
  /// n, the tokens that are in play; wanted by "dynamic" and "longrope", whose frequencies depend
  /// on it, and ignored by the others.
  Index sequence_length = 0;
  /// Of models whose layers differ: "full_attention", "sliding_attention", ...
  std::string layer_type{};
  /// Replaces the head_dim that the config gives; 0 keeps it (models whose layers differ there).
  Index head_dim = 0;
};

struct HfRope {
  /// Frequencies and attention factor, for RoPE<T, pairing>(spectrum, slice).
  Spectrum spectrum;
  /// Where the rotated coordinates begin: behind qk_nope_head_dim in DeepSeek's heads, else at 0.
  RotarySlice slice;
  /// How the published weights pair coordinates; empty for a model_type that is not known here.
  std::optional<Pairing> pairing;
  /// What multiplies the softmax scale (spectrum::deepseek_softmax_scale_factor); 1 but for
  /// DeepSeek's multi-head latent attention.
  double softmax_scale_factor = 1;
  /// M-RoPE's planes an axis (time, height, width); empty where positions have one axis.
  std::vector<Index> mrope_section{};
  bool mrope_interleaved = false;
  /// The name of the scaling: "default", "linear", "yarn", ...
  std::string rope_type{};
};

namespace detail {

/// A JSON object whose fields are asked for by name and type; null is absent.
class HfObject {
 public:
  using Json = nlohmann::json;

  HfObject(const Json& json, std::string name) : json_(&json), name_(std::move(name)) {
    if (!json.is_object()) fail(name_, kind(json), "a JSON object");
  }

  const Json* find(const std::string& key) const {
    const auto at = json_->find(key);
    return at == json_->end() || at->is_null() ? nullptr : &*at;
  }
  std::optional<double> number(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) return std::nullopt;
    if (!x->is_number()) fail(path(key), kind(*x), "a number");
    return x->get<double>();
  }
  std::optional<Index> integer(const std::string& key) const {
    const std::optional<double> x = number(key);
    if (!x) return std::nullopt;
    if (!(*x >= -0x1p53 && *x <= 0x1p53) || std::floor(*x) != *x) {
      fail(path(key), text(*x), "a whole number");
    }
    return static_cast<Index>(*x);
  }
  std::optional<std::string> string(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) return std::nullopt;
    if (!x->is_string()) fail(path(key), kind(*x), "a string");
    return x->get<std::string>();
  }
  bool boolean(const std::string& key, bool otherwise) const {
    const Json* x = find(key);
    if (x == nullptr) return otherwise;
    if (!x->is_boolean()) fail(path(key), kind(*x), "true or false");
    return x->get<bool>();
  }
  std::vector<double> numbers(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) fail(path(key), "nothing", "a list of numbers");
    if (!x->is_array()) fail(path(key), kind(*x), "a list of numbers");
    std::vector<double> out;
    for (const Json& entry : *x) {
      if (!entry.is_number()) fail(path(key), kind(entry), "numbers alone");
      out.push_back(entry.get<double>());
    }
    return out;
  }
  double needed_number(const std::string& key) const {
    const std::optional<double> x = number(key);
    if (!x) fail(path(key), "nothing", "a number");
    return *x;
  }

  /// Throws unless every key is one of these.
  void check_keys(const std::string& type, std::initializer_list<std::string_view> known) const {
    constexpr std::string_view kCommon[] = {"rope_type",     "type",
                                            "rope_theta",    "partial_rotary_factor",
                                            "mrope_section", "mrope_interleaved"};
    for (const auto& [key, value] : json_->items()) {
      const auto is_key = [&, &k = key](std::string_view s) { return s == k; };
      if (std::any_of(std::begin(kCommon), std::end(kCommon), is_key)) continue;
      if (std::any_of(known.begin(), known.end(), is_key)) continue;
      fail(path(key), "a key that grape does not know",
           text("keys that mean something for rope_type \"", type, "\""));
    }
  }

  bool empty() const { return json_->empty(); }
  const Json& json() const { return *json_; }
  const std::string& name() const { return name_; }
  std::string path(const std::string& key) const { return name_ + "." + key; }

  static std::string kind(const Json& x) {
    return text("a JSON ", x.type_name(), " (", x.dump().substr(0, 60), ")");
  }

 private:
  const Json* json_;
  std::string name_;
};

/// One number that may stand in either of two objects; where it stands in both they must agree.
template <class Get>
auto hf_agreed(const HfObject& a, const HfObject* b, const std::string& key, Get&& get) {
  auto x = get(a, key);
  if (b == nullptr) return x;
  const auto y = get(*b, key);
  if (x && y && *x != *y) {
    fail(b->path(key), text(*y), text("the same as ", a.path(key), " = ", *x));
  }
  return x ? x : y;
}
inline constexpr auto kHfNumber = [](const HfObject& o, const std::string& k) {
  return o.number(k);
};
inline constexpr auto kHfInteger = [](const HfObject& o, const std::string& k) {
  return o.integer(k);
};

/// The object that holds the scaling: rope_parameters (transformers 5), of the layer type where it
/// has one for each, or rope_scaling; empty where there is none.
inline std::optional<HfObject> hf_rope_object(const HfObject& config,
                                              const HfRopeOptions& options) {
  const nlohmann::json* parameters = config.find("rope_parameters");
  const nlohmann::json* scaling = config.find("rope_scaling");
  if (parameters != nullptr && scaling != nullptr && *parameters != *scaling) {
    fail("config.rope_scaling", "an object that differs from config.rope_parameters",
         "one of the two, or the same in both");
  }
  const std::string name = parameters != nullptr ? "config.rope_parameters" : "config.rope_scaling";
  const nlohmann::json* found = parameters != nullptr ? parameters : scaling;
  if (found == nullptr) return std::nullopt;
  const HfObject object(*found, name);
  std::string types;
  for (const auto& [key, value] : found->items()) {
    if (value.is_object()) types += (types.empty() ? "" : ", ") + key;
  }
  if (types.empty()) return object;
  const nlohmann::json* of_layer =
      options.layer_type.empty() ? nullptr : object.find(options.layer_type);
  if (of_layer == nullptr) {
    fail("options.layer_type", text("\"", options.layer_type, "\""),
         text("one of the layer types of ", name, ": ", types));
  }
  return HfObject(*of_layer, name + "." + options.layer_type);
}

inline std::string hf_rope_type(const HfObject& rope) {
  const std::optional<std::string> now = rope.string("rope_type"), old = rope.string("type");
  // transformers saved Qwen2-VL's "mrope" beside a rope_type of "default".
  const bool mrope = old == "mrope" && (!now || *now == "default");
  if (now && old && *now != *old && !mrope) {
    fail(rope.path("type"), text("\"", *old, "\""), text("rope_type, \"", *now, "\""));
  }
  std::string type = now ? *now : old.value_or("");
  if (mrope) type = "default";
  if (mrope && rope.find("mrope_section") == nullptr) {
    fail(rope.path("mrope_section"), "nothing", "the planes of each axis");
  }
  if (type == "su") type = "longrope";
  if (type.empty()) {
    // rope_parameters of a model without scaling may hold its base alone.
    if (rope.find("rope_theta") == nullptr) {
      fail(rope.path("rope_type"), "nothing", "the name of a scaling");
    }
    type = "default";
  }
  return type;
}

/// The head_dim whose coordinates rotary_dim counts in.
inline Index hf_head_dim(const HfObject& config, const HfRopeOptions& options) {
  if (options.head_dim != 0) return options.head_dim;
  for (const char* key : {"qk_rope_head_dim", "head_dim"}) {
    if (const std::optional<Index> dim = config.integer(key)) return *dim;
  }
  const std::optional<Index> hidden = config.integer("hidden_size");
  const std::optional<Index> heads = config.integer("num_attention_heads");
  if (!hidden || !heads) {
    fail("config.head_dim", "nothing", "head_dim, or hidden_size and num_attention_heads");
  }
  if (*heads < 1 || *hidden % *heads != 0) {
    fail("config.num_attention_heads", text(*heads), text("a divisor of hidden_size ", *hidden));
  }
  return *hidden / *heads;
}

inline std::optional<Pairing> hf_pairing(const HfObject& config) {
  const std::string type = config.string("model_type").value_or("");
  const auto is = [&](std::string_view s) { return s == type; };
  constexpr std::string_view kInterleaved[] = {
      "codegen", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "ernie4_5",
      "glm",     "glm4",   "gptj",    "helium",      "llama4_text"};
  constexpr std::string_view kHalfSplit[] = {
      "falcon", "gemma",     "gemma2",  "gemma3_text", "gpt_neox", "gpt_oss",  "granite",
      "llama",  "mistral",   "mixtral", "olmo",        "olmo2",    "phi",      "phi3",
      "qwen2",  "qwen2_moe", "qwen3",   "qwen3_moe",   "smollm3",  "stablelm", "starcoder2"};
  if (std::any_of(std::begin(kInterleaved), std::end(kInterleaved), is)) {
    return config.boolean("rope_interleave", true) ? Pairing::interleaved : Pairing::half_split;
  }
  if (std::any_of(std::begin(kHalfSplit), std::end(kHalfSplit), is)) return Pairing::half_split;
  return std::nullopt;
}

/// What the scalings need beside their own object.
struct HfRopeContext {
  const HfObject& config;
  const HfObject& rope;
  const HfRopeOptions& options;
  Index head_dim;
  Index rotary_dim;
  double base;

  Index context() const {
    const std::optional<Index> length = config.integer("max_position_embeddings");
    if (!length) fail("config.max_position_embeddings", "nothing", "a number of tokens");
    return *length;
  }
  std::optional<Index> original() const {
    return hf_agreed(rope, &config, "original_max_position_embeddings", kHfInteger);
  }
  Index sequence_length(const std::string& type) const {
    if (options.sequence_length < 1) {
      fail("options.sequence_length", text(options.sequence_length),
           text("the tokens in play, which \"", type, "\" depends on"));
    }
    return options.sequence_length;
  }
};

inline Spectrum hf_dynamic(const HfRopeContext& c) {
  c.rope.check_keys("dynamic", {"factor", "original_max_position_embeddings"});
  const Index context = c.context();
  const Index original = c.original().value_or(context);
  if (original != context) {
    // Hugging Face's code reads the one and its documentation the other.
    fail(c.rope.path("original_max_position_embeddings"), text(original),
         text("nothing, or max_position_embeddings ", context));
  }
  return spectrum::dynamic_ntk(c.rotary_dim, c.base,
                               {.factor = c.rope.needed_number("factor"),
                                .original_max_position = original,
                                .sequence_length = c.sequence_length("dynamic")});
}

inline Spectrum hf_yarn(const HfRopeContext& c) {
  c.rope.check_keys("yarn", {"factor", "original_max_position_embeddings", "attention_factor",
                             "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"});
  spectrum::YarnOptions o;
  o.factor = c.rope.needed_number("factor");
  const std::optional<Index> original = c.original();
  o.original_max_position = original ? *original : c.context();
  o.beta_fast = c.rope.number("beta_fast").value_or(o.beta_fast);
  o.beta_slow = c.rope.number("beta_slow").value_or(o.beta_slow);
  o.truncate = c.rope.boolean("truncate", o.truncate);
  o.attention_factor = c.rope.number("attention_factor");
  const double mscale = c.rope.number("mscale").value_or(0);
  const double all_dim = c.rope.number("mscale_all_dim").value_or(0);
  if (mscale != 0 && all_dim != 0) {  // as Hugging Face: both, or neither counts
    o.mscale = mscale;
    o.mscale_all_dim = all_dim;
  }
  return spectrum::yarn(c.rotary_dim, c.base, o);
}

inline Spectrum hf_llama3(const HfRopeContext& c) {
  c.rope.check_keys("llama3", {"factor", "low_freq_factor", "high_freq_factor",
                               "original_max_position_embeddings"});
  const std::optional<Index> original = c.original();
  if (!original) {
    fail(c.rope.path("original_max_position_embeddings"), "nothing", "a number of tokens");
  }
  return spectrum::llama3(c.rotary_dim, c.base,
                          {.factor = c.rope.needed_number("factor"),
                           .original_max_position = *original,
                           .low_freq_factor = c.rope.needed_number("low_freq_factor"),
                           .high_freq_factor = c.rope.needed_number("high_freq_factor")});
}

inline Spectrum hf_longrope(const HfRopeContext& c) {
  c.rope.check_keys("longrope",
                    {"short_factor", "long_factor", "factor", "attention_factor",
                     "original_max_position_embeddings", "short_mscale", "long_mscale"});
  spectrum::LongRopeOptions o;
  o.short_factors = c.rope.numbers("short_factor");
  o.long_factors = c.rope.numbers("long_factor");
  o.sequence_length = c.sequence_length("longrope");
  const std::optional<Index> original = c.original();
  const std::optional<double> factor = c.rope.number("factor");
  o.original_max_position = original ? *original : c.context();
  if (original && *original >= 1) {
    o.factor = static_cast<double>(c.context()) / static_cast<double>(*original);
    if (factor && std::fabs(*factor - o.factor) > 1e-6 * o.factor) {
      fail(c.rope.path("factor"), text(*factor),
           text("max_position_embeddings / original_max_position_embeddings = ", o.factor));
    }
  } else {
    o.factor = c.rope.needed_number("factor");
  }
  o.attention_factor = c.rope.number("attention_factor");
  const std::optional<double> of_short = c.rope.number("short_mscale");
  const std::optional<double> of_long = c.rope.number("long_mscale");
  if (of_short.has_value() != of_long.has_value() || (of_short && o.attention_factor)) {
    fail(c.rope.path(of_short ? "short_mscale" : "long_mscale"), "it alone or beside another",
         "short_mscale and long_mscale, or attention_factor, or none of them");
  }
  if (of_short) {
    o.attention_factor = o.sequence_length > o.original_max_position ? of_long : of_short;
  }
  return spectrum::longrope(c.rotary_dim, c.base, o);
}

inline Spectrum hf_spectrum(const std::string& type, const HfRopeContext& c) {
  if (type == "default") {
    c.rope.check_keys(type, {});
    return spectrum::log_uniform(c.rotary_dim, c.base);
  }
  if (type == "linear" || type == "ntk") {
    c.rope.check_keys(type, {"factor"});
    const double factor = c.rope.needed_number("factor");
    return type == "linear" ? spectrum::linear(c.rotary_dim, c.base, factor)
                            : spectrum::ntk(c.rotary_dim, c.base, factor);
  }
  if (type == "dynamic") return hf_dynamic(c);
  if (type == "yarn") return hf_yarn(c);
  if (type == "llama3") return hf_llama3(c);
  if (type == "longrope") return hf_longrope(c);
  fail(c.rope.path("rope_type"), text("\"", type, "\""),
       "default, linear, ntk, dynamic, yarn, llama3, longrope or proportional");
}

/// Frequency sets that old configs put beside the object: Gemma 3's base of the sliding layers.
inline std::optional<double> hf_local_base(const HfObject& config, const HfRopeOptions& options) {
  const std::optional<double> base = config.number("rope_local_base_freq");
  if (!base || config.find("rope_parameters") != nullptr) return std::nullopt;
  if (options.layer_type == "sliding_attention") return base;
  if (options.layer_type == "full_attention") return std::nullopt;
  fail("options.layer_type", text("\"", options.layer_type, "\""),
       "sliding_attention or full_attention: the config has rope_local_base_freq");
}

}  // namespace detail

/// The rotary embedding that a Hugging Face config.json describes, from its rope_scaling (also with
/// "type" for "rope_type") or, as transformers 5 writes it, its rope_parameters, with rope_theta
/// inside and perhaps one object for each layer type. Model configs inside of others (text_config)
/// are to be passed themselves.
///
/// Takes rope_type default, linear, ntk, dynamic, yarn, llama3, longrope (and its old name su) and
/// proportional, and M-RoPE's sections as values. Where a field is absent, what Hugging Face's code
/// takes instead is taken; a field that contradicts another is an error.
///
/// Throws ArgumentError, which names the field by its path, for a rope_type or key of the object
/// that is not known, for fields that are missing, of the wrong type or contradictory, and for
/// values that the spectrum refuses.
inline HfRope hf_rope(const nlohmann::json& json, const HfRopeOptions& options = {}) {
  const detail::HfObject config(json, "config");
  const nlohmann::json none = nlohmann::json::object();
  const std::optional<double> local_base = detail::hf_local_base(config, options);
  std::optional<detail::HfObject> found;
  if (!local_base) found = detail::hf_rope_object(config, options);
  const bool scaled = found && !found->empty();
  const detail::HfObject rope = scaled ? *found : detail::HfObject(none, "config.rope_scaling");

  std::optional<double> base = local_base;
  if (!base) base = detail::hf_agreed(rope, &config, "rope_theta", detail::kHfNumber);
  if (!base) base = config.number("rotary_emb_base");
  if (!base) {
    detail::fail("config.rope_theta", "nothing",
                 "the base (10000.0 for checkpoints older than the field)");
  }
  const std::string type = scaled ? detail::hf_rope_type(rope) : "default";
  const Index head_dim = detail::hf_head_dim(config, options);
  std::optional<double> fraction =
      detail::hf_agreed(rope, &config, "partial_rotary_factor", detail::kHfNumber);
  if (!fraction) fraction = config.number("rotary_pct");
  if (fraction && !(*fraction > 0 && *fraction <= 1)) {
    detail::fail("config.partial_rotary_factor", detail::text(*fraction), "a value in (0, 1]");
  }
  const double share = fraction.value_or(1);
  const std::optional<Index> listed = config.integer("rotary_dim");
  const Index rotary_dim =
      listed && !fraction ? *listed : static_cast<Index>(static_cast<double>(head_dim) * share);

  const detail::HfRopeContext context{config, rope, options, head_dim, rotary_dim, *base};
  if (type == "proportional") rope.check_keys(type, {});
  HfRope out{.spectrum = type == "proportional" ? spectrum::proportional(head_dim, *base, share)
                                                : detail::hf_spectrum(type, context),
             .slice = {},
             .pairing = detail::hf_pairing(config)};
  out.rope_type = type;
  if (config.find("qk_rope_head_dim") != nullptr) {
    out.slice.begin = config.integer("qk_nope_head_dim").value_or(0);
    const double all_dim = type == "yarn" ? rope.number("mscale_all_dim").value_or(0) : 0;
    if (all_dim != 0) {
      out.softmax_scale_factor =
          spectrum::deepseek_softmax_scale_factor(rope.needed_number("factor"), all_dim);
    }
  }
  if (rope.find("mrope_section") != nullptr) {
    for (const double planes : rope.numbers("mrope_section")) {
      out.mrope_section.push_back(static_cast<Index>(planes));
    }
    Index total = 0;
    for (const Index planes : out.mrope_section) total += planes;
    if (total != out.spectrum.planes()) {
      detail::fail(rope.path("mrope_section"), detail::text("a sum of ", total),
                   detail::text("the ", out.spectrum.planes(), " planes of the head"));
    }
    out.mrope_interleaved = rope.boolean("mrope_interleaved", false);
  }
  return out;
}

}  // namespace grape::inline v0
