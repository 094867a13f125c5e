// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/canonical_planes.hpp"
#include "grape/interop/detail/hf_dimensions.hpp"
#include "grape/interop/detail/hf_model.hpp"
#include "grape/interop/detail/hf_object.hpp"
#include "grape/interop/detail/hf_spectrum.hpp"
#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/spectrum.hpp"
#include "grape/spectrum/yarn.hpp"

/// What a Hugging Face config.json says about rotary embeddings. Needs nlohmann_json, which no
/// other header of grape does: include this one by name.

namespace grape::inline v0 {

/// What the config does not say itself.
struct HfRopeOptions {
  /// n, the tokens that are in play; wanted by "dynamic" and "longrope", whose frequencies depend
  /// on it, and ignored by the others.
  Index sequence_length = 0;
  /// Of models whose layers differ: "full_attention", "sliding_attention", ...; one of layer_types
  /// where the config has that list.
  std::string layer_type{};
  /// Replaces the head_dim that the config gives; 0 keeps it (models whose layers differ there).
  Index head_dim = 0;
};

/// What it says: all that an encoder and attention need.
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
  /// Whether the axes take turns along the planes (Qwen3-VL) instead of owning runs of them.
  bool mrope_interleaved = false;
  /// The name of the scaling: "default", "linear", "yarn", ...
  std::string rope_type{};
};

namespace detail {

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
  std::string types, other;
  for (const auto& [key, value] : found->items()) {
    if (value.is_object()) {
      if (types.size() < 200) types += (types.empty() ? "" : ", ") + hf_shown(key);
    } else if (!value.is_null()) {
      other = key;
    }
  }
  if (types.empty() || object.find("rope_type") != nullptr || object.find("type") != nullptr) {
    return object;
  }
  const nlohmann::json* of_layer =
      options.layer_type.empty() ? nullptr : object.find(options.layer_type);
  if (of_layer == nullptr) {
    fail("options.layer_type", hf_quoted(options.layer_type),
         text("one of the layer types of ", name, ": ", types));
  }
  if (!other.empty()) {
    fail(object.path(hf_shown(other)), "a field beside objects for each layer type",
         text("it inside of each of them: ", types));
  }
  return HfObject(*of_layer, object.path(hf_shown(options.layer_type)));
}

inline std::string hf_rope_type(const HfObject& rope) {
  const std::optional<std::string> now = rope.string("rope_type"), old = rope.string("type");
  // transformers saved Qwen2-VL's "mrope" beside a rope_type of "default".
  const auto plain = [](const auto& x) { return !x || *x == "default" || *x == "mrope"; };
  const bool mrope = plain(now) && plain(old) && (now == "mrope" || old == "mrope");
  if (now && old && *now != *old && !mrope) {
    fail(rope.path("type"), hf_quoted(*old), text("rope_type, ", hf_quoted(*now)));
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

/// Frequency sets that old configs put beside the object: Gemma 3's base of the sliding layers.
inline std::optional<HfNamed<double>> hf_local_base(const HfObject& config,
                                                    const HfRopeOptions& options) {
  auto base = hf_agreed<double>({{config, "rope_local_base_freq"}});
  if (!base || hf_per_layer(config)) return std::nullopt;
  if (options.layer_type == "sliding_attention") return base;
  if (options.layer_type == "full_attention") return std::nullopt;
  fail("options.layer_type", hf_quoted(options.layer_type),
       "sliding_attention or full_attention: the config has rope_local_base_freq");
}

/// The base of the frequencies, by its new and its old name.
inline HfNamed<double> hf_base(const HfObject& config, const HfObject& rope,
                               std::optional<HfNamed<double>> local) {
  std::optional<HfNamed<double>> base = std::move(local);
  if (!base) {
    base = hf_agreed<double>(
        {{rope, "rope_theta"}, {config, "rope_theta"}, {config, "rotary_emb_base"}});
  }
  if (!base) {
    fail("config.rope_theta", "nothing", "the base (10000.0 for checkpoints older than the field)");
  }
  check_positive(base->path, base->value);
  return *std::move(base);
}

/// M-RoPE's planes an axis: together those of the head.
inline std::vector<Index> hf_sections(const HfObject& rope, Index planes) {
  std::vector<Index> sections = rope.integers("mrope_section");
  Index total = 0;
  for (std::size_t axis = 0; axis < sections.size(); ++axis) {
    if (sections[axis] < 1 || sections[axis] > planes) {
      fail(text(rope.path("mrope_section"), "[", axis, "]"), text(sections[axis]),
           text("a number of the ", planes, " planes of the head, >= 1"));
    }
    total += sections[axis];
    if (total > planes) break;
  }
  if (total != planes) {
    fail(rope.path("mrope_section"),
         total > planes ? std::string("a sum of more") : text("a sum of ", total),
         text("the ", planes, " planes of the head"));
  }
  return sections;
}

/// What DeepSeek's multi-head latent attention has beside the spectrum: unrotated coordinates in
/// front, and a factor of the softmax scale.
inline void hf_latent(const HfObject& config, const HfRopeContext& c, HfRope& out) {
  const auto nope = hf_agreed<Index>({{config, "qk_nope_head_dim"}});
  if (nope && (nope->value < 0 || nope->value > kHfGreatestDim)) {
    fail(nope->path, text(nope->value), text("a dimension in [0, ", kHfGreatestDim, "]"));
  }
  out.slice.begin = nope ? nope->value : 0;
  const double all_dim = out.rope_type == "yarn" ? c.not_negative("mscale_all_dim") : 0;
  if (all_dim != 0) {
    out.softmax_scale_factor = spectrum::deepseek_softmax_scale_factor(c.factor(), all_dim);
  }
}

}  // namespace detail

/// The rotary embedding that a Hugging Face config.json describes, from its rope_scaling (also with
/// "type" for "rope_type") or, as transformers 5 writes it, its rope_parameters, with rope_theta
/// inside and perhaps one object for each layer type. Model configs inside of others (text_config)
/// are to be passed themselves.
///
/// Takes rope_type default, linear, ntk, dynamic, yarn, llama3, longrope (and its old name su) and
/// proportional, and M-RoPE's sections as values. Where a field of the scaling is absent, what
/// Hugging Face's code takes instead is taken. The base has no such default: it is rope_theta (or
/// its old name rotary_emb_base), and a config that is older than the field means 10000, or what
/// the model's own code says; put it in. The part of the head that turns is partial_rotary_factor
/// (old: rotary_pct, rope_pct, rotary_emb_fraction) of it, or rotary_dim, or all. Names of one
/// thing may stand beside one another if they agree.
///
/// OLMo 3 scales its full attention alone: with layer_type "sliding_attention" its spectrum is the
/// plain one. Gemma 4's full attention has heads of global_head_dim.
///
/// Throws ArgumentError for models that say that they have no RoPE (position_embedding_type, alibi,
/// rotary), for a scaling outside of the object (rotary_scaling_factor, use_dynamic_ntk), for a
/// layer_type that is not among the config's, and for a Gemma without head_dim or, where the
/// sliding layers are asked for, rope_local_base_freq: their code has constants for them.
///
/// Throws ArgumentError, which names the field by its path (`config.rope_scaling.factor`), for a
/// rope_type or key of the object that is not known, for fields that are missing, of the wrong
/// type, out of range or contradictory, and for values that the spectrum refuses.
inline HfRope hf_rope(const nlohmann::json& json, const HfRopeOptions& options = {}) {
  const detail::HfObject config(json, "config");
  const nlohmann::json none = nlohmann::json::object();
  detail::hf_check_rotary(config);
  detail::hf_check_layer_type(config, options.layer_type);
  std::optional<detail::HfNamed<double>> local_base = detail::hf_local_base(config, options);
  std::optional<detail::HfObject> found;
  if (!local_base) found = detail::hf_rope_object(config, options);
  const bool scaled = found && !found->empty();
  const detail::HfObject nothing(none, "config.rope_scaling");
  const detail::HfObject said = scaled ? *found : nothing;
  const detail::HfRotaryPart part =
      detail::hf_rotary_part(config, said, options.head_dim, options.layer_type);
  detail::HfNamed<double> base = detail::hf_base(config, said, std::move(local_base));
  // OLMo 3's sliding layers take base and size from the object, but not the scaling.
  const bool unscaled = options.layer_type == "sliding_attention" &&
                        config.string("model_type") == "olmo3" && !detail::hf_per_layer(config);
  const detail::HfObject rope = unscaled ? nothing : said;
  const std::string type = scaled && !unscaled ? detail::hf_rope_type(rope) : "default";
  const detail::HfRopeContext context{config, rope, options.sequence_length, part.rotary_dim,
                                      std::move(base)};
  const auto spectrum_of = [&] {
    return type == "proportional" ? detail::hf_proportional(context, part)
                                  : detail::hf_spectrum(type, context);
  };
  HfRope out{.spectrum = spectrum_of(), .slice = {}, .pairing = detail::hf_pairing(config)};
  out.rope_type = type;
  if (detail::hf_latent_dim(config)) detail::hf_latent(config, context, out);
  if (rope.find("mrope_section") != nullptr) {
    out.mrope_section = detail::hf_sections(rope, out.spectrum.planes());
    out.mrope_interleaved = rope.boolean("mrope_interleaved", false);
  }
  return out;
}

}  // namespace grape::inline v0
