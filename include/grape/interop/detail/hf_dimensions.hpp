// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/detail/hf_object.hpp"

namespace grape::inline v0 {
namespace detail {

/// No head is wider; a config that says so is refused before memory is asked for.
inline constexpr Index kHfGreatestDim = Index{1} << 20;

inline void hf_check_dim(const HfNamed<Index>& dim) {
  if (dim.value < 2 || dim.value > kHfGreatestDim) {
    fail(dim.path, text(dim.value), text("a dimension in [2, ", kHfGreatestDim, "]"));
  }
}

/// qk_rope_head_dim of multi-head latent attention; empty where a config has the field but not that
/// attention: it is 0, or use_mla is false.
inline std::optional<HfNamed<Index>> hf_latent_dim(const HfObject& config) {
  auto dim = hf_agreed<Index>({{config, "qk_rope_head_dim"}});
  if (dim && (dim->value == 0 || !config.boolean("use_mla", true))) return std::nullopt;
  return dim;
}

/// The head_dim whose coordinates rotary_dim counts in; `replaced` is HfRopeOptions::head_dim.
inline HfNamed<Index> hf_head_dim(const HfObject& config, Index replaced,
                                  const std::string& layer_type) {
  if (replaced != 0) return {replaced, "options.head_dim"};
  if (auto dim = hf_latent_dim(config)) return *std::move(dim);
  if (layer_type == "full_attention") {  // Gemma 4, whose head_dim is that of the sliding layers
    if (auto dim = hf_agreed<Index>({{config, "global_head_dim"}})) return *std::move(dim);
  }
  if (auto dim = hf_agreed<Index>({{config, "head_dim"}})) return *std::move(dim);
  const std::string type = config.string("model_type").value_or("");
  if (type == "gemma" || type == "gemma2" || type == "gemma3_text") {
    // Their default is a constant of the model's code, not hidden_size / num_attention_heads.
    fail("config.head_dim", "nothing", "head_dim in the config or options");
  }
  const auto hidden = hf_agreed<Index>({{config, "hidden_size"}, {config, "n_embd"}});
  const auto heads = hf_agreed<Index>({{config, "num_attention_heads"}, {config, "n_head"}});
  if (!hidden || !heads) {
    fail("config.head_dim", "nothing", "head_dim, or hidden_size and num_attention_heads");
  }
  if (heads->value < 1 || hidden->value % heads->value != 0) {
    fail(heads->path, text(heads->value), text("a divisor of ", hidden->path, " ", hidden->value));
  }
  return {hidden->value / heads->value, hidden->path};
}

/// How much of a head turns.
struct HfRotaryPart {
  HfNamed<Index> head_dim;
  HfNamed<Index> rotary_dim;
  std::optional<HfNamed<double>> share;  ///< in (0, 1], where the config says one
};

/// From partial_rotary_factor, its other names (rotary_pct, rope_pct, rotary_emb_fraction) and
/// rotary_dim, which must agree.
inline HfRotaryPart hf_rotary_part(const HfObject& config, const HfObject& rope, Index replaced,
                                   const std::string& layer_type) {
  HfNamed<Index> head_dim = hf_head_dim(config, replaced, layer_type);
  hf_check_dim(head_dim);
  auto share = hf_agreed<double>({{rope, "partial_rotary_factor"},
                                  {config, "partial_rotary_factor"},
                                  {config, "rotary_pct"},
                                  {config, "rope_pct"},
                                  {config, "rotary_emb_fraction"}});
  auto rotary_dim = hf_agreed<Index>({{config, "rotary_dim"}});
  if (share && !(share->value > 0 && share->value <= 1)) {
    fail(share->path, text(share->value), "a value in (0, 1]");
  }
  if (rotary_dim && (rotary_dim->value < 2 || rotary_dim->value > head_dim.value)) {
    fail(rotary_dim->path, text(rotary_dim->value),
         text("a dimension in [2, ", head_dim.path, " = ", head_dim.value, "]"));
  }
  if (share) {
    const auto shared = static_cast<Index>(static_cast<double>(head_dim.value) * share->value);
    if (rotary_dim && rotary_dim->value != shared) {
      fail(rotary_dim->path, text(rotary_dim->value),
           text("what ", share->path, " = ", share->value, " makes of ", head_dim.path, " = ",
                head_dim.value, ", which is ", shared));
    }
    if (!rotary_dim) rotary_dim = HfNamed<Index>{shared, share->path + " of " + head_dim.path};
  }
  if (!rotary_dim) rotary_dim = head_dim;
  return {std::move(head_dim), *std::move(rotary_dim), std::move(share)};
}

}  // namespace detail
}  // namespace grape::inline v0
