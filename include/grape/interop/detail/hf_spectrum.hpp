// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/detail/hf_dimensions.hpp"
#include "grape/interop/detail/hf_object.hpp"
#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/linear.hpp"
#include "grape/spectrum/llama3.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/longrope.hpp"
#include "grape/spectrum/ntk.hpp"
#include "grape/spectrum/spectrum.hpp"
#include "grape/spectrum/yarn.hpp"

namespace grape::inline v0 {
namespace detail {

/// What the scalings need beside their own object. Each value is checked under the name of its
/// field before a spectrum sees it.
struct HfRopeContext {
  const HfObject& config;
  const HfObject& rope;
  Index sequence;  ///< tokens in play, 0 where they were not said
  HfNamed<Index> rotary_dim;
  HfNamed<double> base;

  /// max_position_embeddings.
  HfNamed<Index> context() const {
    auto length = hf_agreed<Index>({{config, "max_position_embeddings"}});
    if (!length) fail("config.max_position_embeddings", "nothing", "a number of tokens");
    check_length(length->path, length->value, 1);
    return *std::move(length);
  }
  std::optional<HfNamed<Index>> original() const {
    auto length = hf_agreed<Index>(
        {{rope, "original_max_position_embeddings"}, {config, "original_max_position_embeddings"}});
    if (length) check_length(length->path, length->value, 1);
    return length;
  }
  Index sequence_length(const std::string& type) const {
    if (sequence < 1) {
      fail("options.sequence_length", text(sequence),
           text("the tokens in play, which \"", type, "\" depends on"));
    }
    return sequence;
  }
  /// The factor by which the context grows.
  double factor() const {
    const double factor = rope.needed_number("factor");
    check_scale_factor(factor, rope.path("factor"));
    return factor;
  }
  double positive(const std::string& key, double otherwise) const {
    const double x = rope.number(key).value_or(otherwise);
    check_positive(rope.path(key), x);
    return x;
  }
  double not_negative(const std::string& key) const {
    const double x = rope.number(key).value_or(0);
    if (!is_finite(x) || x < 0) fail(rope.path(key), text(x), "a finite value >= 0");
    return x;
  }
  std::optional<double> attention_factor(const std::string& key) const {
    const std::optional<double> x = rope.number(key);
    if (x) check_attention_factor(rope.path(key), *x);
    return x;
  }
};

/// NTK's two ends, the fastest and the slowest plane, must not be one.
inline void hf_check_ntk_dim(const HfRopeContext& c) {
  if (c.rotary_dim.value < 4) {
    fail(c.rotary_dim.path, text(c.rotary_dim.value), "an even number >= 4");
  }
}

inline Spectrum hf_dynamic(const HfRopeContext& c) {
  c.rope.check_keys("dynamic", {"factor", "original_max_position_embeddings"});
  hf_check_ntk_dim(c);
  const HfNamed<Index> context = c.context(), original = c.original().value_or(context);
  if (original.value != context.value) {
    // Hugging Face's code reads the one and its documentation the other.
    fail(original.path, text(original.value),
         text("nothing, or max_position_embeddings ", context.value));
  }
  return spectrum::dynamic_ntk(c.rotary_dim.value, c.base.value,
                               {.factor = c.factor(),
                                .original_max_position = original.value,
                                .sequence_length = c.sequence_length("dynamic")});
}

inline Spectrum hf_yarn(const HfRopeContext& c) {
  c.rope.check_keys("yarn",
                    {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast",
                     "beta_slow", "mscale", "mscale_all_dim", "truncate", "finetuned"});
  c.rope.boolean("finetuned", true);  // of how the checkpoint was made; no formula reads it
  if (c.base.value <= 1) fail(c.base.path, text(c.base.value), "a value > 1");
  spectrum::YarnOptions o;
  o.factor = c.factor();
  const std::optional<HfNamed<Index>> original = c.original();
  o.original_max_position = original ? original->value : c.context().value;
  o.beta_slow = c.positive("beta_slow", o.beta_slow);
  o.beta_fast = c.positive("beta_fast", o.beta_fast);
  if (o.beta_fast < o.beta_slow) {
    fail(c.rope.path("beta_fast"), text(o.beta_fast), text("at least beta_slow = ", o.beta_slow));
  }
  o.truncate = c.rope.boolean("truncate", o.truncate);
  o.attention_factor = c.attention_factor("attention_factor");
  const double mscale = c.not_negative("mscale"), all_dim = c.not_negative("mscale_all_dim");
  if (mscale != 0 && all_dim != 0) {  // as Hugging Face: both, or neither counts
    o.mscale = mscale;
    o.mscale_all_dim = all_dim;
  }
  return spectrum::yarn(c.rotary_dim.value, c.base.value, o);
}

inline Spectrum hf_llama3(const HfRopeContext& c) {
  c.rope.check_keys("llama3", {"factor", "low_freq_factor", "high_freq_factor",
                               "original_max_position_embeddings"});
  const std::optional<HfNamed<Index>> original = c.original();
  if (!original) {
    fail(c.rope.path("original_max_position_embeddings"), "nothing", "a number of tokens");
  }
  const double low = c.rope.needed_number("low_freq_factor");
  const double high = c.rope.needed_number("high_freq_factor");
  check_positive(c.rope.path("low_freq_factor"), low);
  if (!is_finite(high) || high < low) {
    fail(c.rope.path("high_freq_factor"), text(high),
         text("a finite value >= low_freq_factor = ", low));
  }
  return spectrum::llama3(c.rotary_dim.value, c.base.value,
                          {.factor = c.factor(),
                           .original_max_position = original->value,
                           .low_freq_factor = low,
                           .high_freq_factor = high});
}

/// One divisor for each plane.
inline std::vector<double> hf_divisors(const HfRopeContext& c, const std::string& key) {
  std::vector<double> divisors = c.rope.numbers(key);
  check_longrope_factors(c.rope.path(key), divisors, c.rotary_dim.value / 2);
  return divisors;
}

inline Spectrum hf_longrope(const HfRopeContext& c) {
  c.rope.check_keys("longrope",
                    {"short_factor", "long_factor", "factor", "attention_factor",
                     "original_max_position_embeddings", "short_mscale", "long_mscale"});
  spectrum::LongRopeOptions o;
  o.short_factors = hf_divisors(c, "short_factor");
  o.long_factors = hf_divisors(c, "long_factor");
  o.sequence_length = c.sequence_length("longrope");
  const HfNamed<Index> context = c.context();
  const std::optional<HfNamed<Index>> named = c.original();
  const HfNamed<Index> original = named.value_or(context);
  check_length(original.path, original.value, 2);
  o.original_max_position = original.value;
  if (named) {
    check_length(context.path, context.value, original.value);
    o.factor = static_cast<double>(context.value) / static_cast<double>(original.value);
    const std::optional<double> factor = c.rope.number("factor");
    if (factor && !(std::fabs(*factor - o.factor) <= 1e-6 * o.factor)) {
      fail(c.rope.path("factor"), text(*factor),
           text("max_position_embeddings / original_max_position_embeddings = ", o.factor));
    }
  } else {
    o.factor = c.factor();
  }
  o.attention_factor = c.attention_factor("attention_factor");
  const std::optional<double> of_short = c.attention_factor("short_mscale");
  const std::optional<double> of_long = c.attention_factor("long_mscale");
  if (of_short.has_value() != of_long.has_value() || (of_short && o.attention_factor)) {
    fail(c.rope.path(of_short ? "short_mscale" : "long_mscale"), "it alone or beside another",
         "short_mscale and long_mscale, or attention_factor, or none of them");
  }
  if (of_short) {
    o.attention_factor = o.sequence_length > o.original_max_position ? of_long : of_short;
  }
  return spectrum::longrope(c.rotary_dim.value, c.base.value, o);
}

/// A tail of planes at rest, which partial_rotary_factor alone counts.
inline Spectrum hf_proportional(const HfRopeContext& c, const HfRotaryPart& part) {
  c.rope.check_keys("proportional", {});
  check_rotary_dim(part.head_dim.path, part.head_dim.value);
  if (!part.share && c.rotary_dim.value != part.head_dim.value) {
    fail(c.rotary_dim.path, text(c.rotary_dim.value),
         "partial_rotary_factor, where rope_type is \"proportional\"");
  }
  return spectrum::proportional(part.head_dim.value, c.base.value,
                                part.share ? part.share->value : 1);
}

inline Spectrum hf_spectrum(const std::string& type, const HfRopeContext& c) {
  const Index dim = c.rotary_dim.value;
  const double base = c.base.value;
  check_rotary_dim(c.rotary_dim.path, dim);
  if (type == "default") {
    c.rope.check_keys(type, {});
    return spectrum::log_uniform(dim, base);
  }
  if (type == "linear") {
    c.rope.check_keys(type, {"factor"});
    return spectrum::linear(dim, base, c.factor());
  }
  if (type == "ntk") {
    c.rope.check_keys(type, {"factor"});
    hf_check_ntk_dim(c);
    return spectrum::ntk(dim, base, c.factor());
  }
  if (type == "dynamic") return hf_dynamic(c);
  if (type == "yarn") return hf_yarn(c);
  if (type == "llama3") return hf_llama3(c);
  if (type == "longrope") return hf_longrope(c);
  fail(c.rope.path("rope_type"), hf_quoted(type),
       "default, linear, ntk, dynamic, yarn, llama3, longrope or proportional");
}

}  // namespace detail
}  // namespace grape::inline v0
