// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/attention_case.hpp"
#include "grape/interop/conformance/diagnosis.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation_case.hpp"
#include "grape/interop/conformance/rotation_diagnosis.hpp"

namespace grape::inline v0::conformance {

namespace detail {

using grape::detail::fail;
using grape::detail::text;

/// Runs the checks of one kernel.
template <Element T, class Kernel>
class AttentionChecks {
 public:
  AttentionChecks(Kernel& kernel, const AttentionOptions& options)
      : kernel_(kernel), options_(options) {}

  Report run() {
    if (options_.greatest_position < 32) {
      fail("options.greatest_position", text(options_.greatest_position), "a position >= 32");
    }
    check_roundings("options.roundings", options_.roundings);
    check_angle_error("options.angle_error", options_.angle_error);
    golden();
    formula();
    laws();
    return std::move(report_);
  }

 private:
  using List = std::vector<T>;

  AttentionCase<T> one(const List& q, const List& k, const List& v, Index heads, Index dim,
                       Index first_query = 0) {
    const auto view = [&](const List& x) {
      return blhd(x.data(), 1, static_cast<Index>(x.size()) / (heads * dim), heads, dim);
    };
    frequencies_.clear();
    if (options_.family == AttentionFamily::rope) {
      for (Index m = 0; m < dim / 2; ++m) {
        frequencies_.push_back(
            std::pow(10000.0, -2 * static_cast<double>(m) / static_cast<double>(dim)));
      }
    }
    AttentionCase<T> c{view(q), view(k),      view(v), first_query,
                       0,       frequencies_, {},      options_.pairing};
    if (options_.family == AttentionFamily::alibi) c.slopes = heads == 1 ? published_ : slopes_;
    return c;
  }
  List attended(const AttentionCase<T>& c) {
    List out(static_cast<std::size_t>(c.q.seq() * c.q.heads() * c.q.dim()));
    kernel_(c, blhd(out.data(), 1, c.q.seq(), c.q.heads(), c.q.dim()));
    return out;
  }
  double allowed(double greatest) const { return greatest * options_.roundings * rounding<T>(); }

  void golden() {
    const double* out = golden::kPlainOut;
    if (options_.family == AttentionFamily::rope) out = golden::kRopeOut;
    if (options_.family == AttentionFamily::alibi) out = golden::kAlibiOut;
    const std::size_t count = std::size(golden::kAttentionQ);
    List q = rounded<T>(golden::kAttentionQ, count), k = rounded<T>(golden::kAttentionK, count);
    if (options_.pairing == Pairing::half_split) {
      q = in_half_split(q, 8);
      k = in_half_split(k, 8);
    }
    const List v = rounded<T>(golden::kAttentionV, count);
    report_.expect("golden", worst(attended(one(q, k, v, 1, 8)), {out, out + count}), allowed(4),
                   "attention [1, 5, 1, 8] by public reference code");
  }

  /// Rows whose pairs are (2m, 2m + 1) with their pairs at (m, m + dim / 2): scores are the same.
  static List in_half_split(const List& x, std::size_t dim) {
    List out = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t d = i % dim;
      out[i - d + d / 2 + d % 2 * (dim / 2)] = x[i];
    }
    return out;
  }

  void formula() {
    const List q = numbers_.list<T>(kSeq * kHeads * kDim),
               k = numbers_.list<T>(kSeq * kHeads * kDim),
               v = numbers_.list<T>(kSeq * kHeads * kDim);
    check_formula(one(q, k, v, kHeads, kDim), "formula");
    if (!options_.decode) {
      report_.skipped.emplace_back("decode: options.decode is false");
      return;
    }
    const List last(q.end() - 2 * kHeads * kDim, q.end());
    check_formula(one(last, k, v, kHeads, kDim, kSeq - 2), "decode");
  }

  void check_formula(const AttentionCase<T>& c, std::string_view name) {
    const List got = attended(c);
    const std::vector<double> wanted = attention_of(c);
    const double error = worst(got, wanted), limit = allowed(1);
    struct Line {
      Mistake mistake;
      const char* check;
      const char* what;
      bool possible;
    };
    const bool rope = options_.family == AttentionFamily::rope;
    const bool alibi = options_.family == AttentionFamily::alibi;
    const Line lines[] = {
        {Mistake::none, "precision",
         "right convention, not exact; computed in fewer bits than the element type has?", true},
        {Mistake::no_scale, "scale", "logits are not divided by sqrt(dim)", true},
        {Mistake::not_causal, "causal", "sees the keys after the query", true},
        {Mistake::strictly_causal, "causal", "does not see the query's own key", true},
        {Mistake::first_query, "offset", "takes query 0 for key 0", c.first_query != 0},
        {Mistake::no_encoding, "encoding", "leaves the rotation or the bias out", rope || alibi},
        {Mistake::direction, "direction",
         rope ? "turns by minus the angle" : "the bias has the other sign", rope || alibi},
        {Mistake::pairing, "pairing", "pairs the coordinates in the other way", rope},
        {Mistake::scaled_bias, "scale", "divides the bias by sqrt(dim) too", alibi},
    };
    std::vector<const Line*> possible;
    std::vector<std::vector<double>> hypotheses;
    for (const Line& line : lines) {
      if (!line.possible) continue;
      possible.push_back(&line);
      hypotheses.push_back(attention_of(c, line.mistake));
    }
    const Line one_head{Mistake::no_encoding, "encoding",
                        "leaves the rotation or the bias out in one of the heads", true};
    if (rope || alibi) {
      const std::vector<double> bare = attention_of(c, Mistake::no_encoding);
      for (Index h = 0; h < kHeads; ++h) {
        possible.push_back(&one_head);
        hypotheses.push_back(wanted);
        for (std::size_t i = 0; i < bare.size(); ++i) {
          if (static_cast<Index>(i) / kDim % kHeads == h) hypotheses.back()[i] = bare[i];
        }
      }
    }
    const Verdict verdict = explain(std::vector<double>(got.begin(), got.end()), hypotheses,
                                    {limit, limit + 0x1p-6}, false);
    if (verdict.hypothesis == Verdict::kNone) {
      report_.expect(name, error, limit,
                     "attention [1, queries, 2, 12] against the formula; no usual mistake");
    } else if (verdict.hypothesis == 0 && error <= limit) {
      report_.expect(name, error, limit, "attention [1, queries, 2, 12] against the formula");
    } else {
      const Line& line = *possible[verdict.hypothesis];
      report_.expect(line.check, error, far_nearer(error, limit), line.what);
    }
  }

  /// Weights sum to 1 and are positive; later tokens do not matter; only offsets are seen.
  void laws() {
    const Index count = kSeq * kHeads * kDim;
    const List q = numbers_.list<T>(count), k = numbers_.list<T>(count);
    const List ones(static_cast<std::size_t>(count), static_cast<T>(1.0F));
    report_.expect("weights",
                   worst(attended(one(q, k, ones, kHeads, kDim)),
                         std::vector<double>(static_cast<std::size_t>(count), 1.0)),
                   allowed(1), "the mean of equal values");
    const List v = numbers_.list<T>(count);
    List k1 = k, v1 = v;
    for (auto i = static_cast<std::size_t>((kSeq - 2) * kHeads * kDim); i < k1.size(); ++i) {
      k1[i] = static_cast<T>(0.5F), v1[i] = static_cast<T>(9.0F);
    }
    AttentionCase<T> c = one(q, k, v, kHeads, kDim);
    const List got = attended(c), after = attended(one(q, k1, v1, kHeads, kDim));
    double future = 0, relative = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>((kSeq - 2) * kHeads * kDim); ++i) {
      future =
          worse(future, std::fabs(static_cast<double>(got[i]) - static_cast<double>(after[i])));
    }
    report_.expect("causal", future, allowed(1), "later keys and values changed earlier outputs");
    c = one(q, k, v, kHeads, kDim);
    c.first_position = (std::min<std::int64_t>)(20000, options_.greatest_position - kSeq);
    const List moved = attended(c);
    for (std::size_t i = 0; i < got.size(); ++i) {
      relative =
          worse(relative, std::fabs(static_cast<double>(got[i]) - static_cast<double>(moved[i])));
    }
    // A logit of 6 pairs of norm 2 at most, over sqrt(12), by two angles.
    const auto steps = 8 * static_cast<double>(c.first_position);
    const double limit = 2 * allowed(1) + steps * options_.angle_error;
    const bool float_angles = options_.family == AttentionFamily::rope && !(relative <= limit) &&
                              relative <= 2 * allowed(1) + steps * kFloatAngle;
    report_.expect("relative", relative, limit,
                   text("all tokens moved by ", c.first_position, " positions",
                        float_angles ? kFloatAngles : ""));
    // Logits of 200 and more: the exponential of them is no float.
    List large = q;
    for (T& x : large) x = static_cast<T>(static_cast<float>(x) * 1000.0F);
    double finite = 0;
    for (const T x : attended(one(large, k, v, kHeads, kDim))) {
      finite = worse(finite, std::fabs(static_cast<double>(x)));
    }
    report_.expect("stable", finite, 1 + allowed(1), "the greatest output of logits of hundreds");
  }

  static constexpr Index kSeq = 7, kHeads = 2, kDim = 12;

  Kernel& kernel_;
  const AttentionOptions& options_;
  Numbers numbers_{11};
  Report report_;
  std::vector<double> frequencies_;
  const std::vector<double> published_{0.0625};  // of the reference code's head
  // Steep ones: what a head without its bias is off by is far above any type's roundings.
  const std::vector<double> slopes_{1.5, 0.75};
};

}  // namespace detail

}  // namespace grape::inline v0::conformance
