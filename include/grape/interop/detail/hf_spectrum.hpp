// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <optional>
#include <string>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/detail/hf_object.hpp"
#include "grape/spectrum/linear.hpp"
#include "grape/spectrum/llama3.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/longrope.hpp"
#include "grape/spectrum/ntk.hpp"
#include "grape/spectrum/spectrum.hpp"
#include "grape/spectrum/yarn.hpp"

namespace grape::inline v0 {
namespace detail {

/// What the scalings need beside their own object.
struct HfRopeContext {
  const HfObject& config;
  const HfObject& rope;
  Index sequence;  ///< tokens in play, 0 where they were not said
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
    if (sequence < 1) {
      fail("options.sequence_length", text(sequence),
           text("the tokens in play, which \"", type, "\" depends on"));
    }
    return sequence;
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

}  // namespace detail
}  // namespace grape::inline v0
