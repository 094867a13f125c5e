// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/math/gates.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Which side's content gates a slope: the query's (GRAPE-A-Q), the key's (GRAPE-A-K), or the sum
/// of both (GRAPE-A-QK).
enum class Gate { query, key, both };

/// The parameters of a gated path in P sets, one a parameter head.
struct GateParameters {
  std::vector<double> query_weights{};  ///< v [P, head_dim]; empty for Gate::key
  std::vector<double> key_weights{};    ///< u [P, head_dim]; empty for Gate::query
  std::vector<double> omega{};          ///< [P]
  /// omega is softplus of the number given, as in the authors' code; else the number itself.
  bool softplus_omega = false;
  /// u and v are divided by their lengths (of at least 1e-6), as in the authors' code.
  bool normalized = false;
};

/// The linear path, gated by content (equation 4.6): the group parameter between query i and key j
/// is
///
///   (p_j - p_i) omega_h (softplus(v_h . q_i / sqrt d) + softplus(u_h . k_j / sqrt d)),
///
/// with one of the two terms for Gate::query and Gate::key.
template <Gate gate>
class GatedPath {
 public:
  using Input = Positions;
  static constexpr bool has_query = gate != Gate::key;
  static constexpr bool has_key = gate != Gate::query;

  /// Throws ArgumentError for lists of other sizes and for numbers that are not finite.
  explicit GatedPath(GateParameters parameters) : parameters_(std::move(parameters)) {
    const GateParameters& p = parameters_;
    if (p.omega.empty()) detail::fail("omega", "an empty list", "one number a parameter set");
    check("omega", p.omega);
    check_weights("query_weights", p.query_weights, has_query);
    check_weights("key_weights", p.key_weights, has_key);
    if (has_query && has_key && p.query_weights.size() != p.key_weights.size()) {
      detail::fail("key_weights", detail::text(p.key_weights.size(), " numbers"),
                   detail::text("as many as query_weights, ", p.query_weights.size()));
    }
    for (const double x : p.omega) omega_.push_back(p.softplus_omega ? softplus(x) : x);
    query_weights_ = effective(p.query_weights);
    key_weights_ = effective(p.key_weights);
  }

  const GateParameters& parameters() const { return parameters_; }
  Index sets() const { return static_cast<Index>(omega_.size()); }
  /// The head width that the weights are made for.
  Index dim() const {
    return static_cast<Index>((std::max)(query_weights_.size(), key_weights_.size())) / sets();
  }
  /// omega as it acts [P], and weights as they act [P, dim], normalized where asked for.
  std::span<const double> omega() const { return omega_; }
  std::span<const double> query_weights() const { return query_weights_; }
  std::span<const double> key_weights() const { return key_weights_; }

  /// Adds to `d_omega` [P] the gradient of omega as given, from that of omega as it acts. Throws
  /// ArgumentError for lists of other sizes.
  void omega_vjp(std::span<const double> d_effective, std::span<double> d_omega) const {
    check_vjp(omega_, d_effective, "d_omega", d_omega);
    for (std::size_t p = 0; p < omega_.size(); ++p) {
      const double slope =
          parameters_.softplus_omega ? softplus_derivative(parameters_.omega[p]) : 1.0;
      d_omega[p] += slope * d_effective[p];
    }
  }
  /// Adds to `d_weights` [P, dim] the gradient of the query's (or key's) weights as given, from
  /// that of the weights as they act. Throws ArgumentError for lists of other sizes, which are
  /// empty where the path has no such gate.
  void query_weights_vjp(std::span<const double> d_effective, std::span<double> d_weights) const {
    check_vjp(query_weights_, d_effective, "d_weights", d_weights);
    weights_vjp(parameters_.query_weights, query_weights_, d_effective, d_weights);
  }
  /// The same of the keys.
  void key_weights_vjp(std::span<const double> d_effective, std::span<double> d_weights) const {
    check_vjp(key_weights_, d_effective, "d_weights", d_weights);
    weights_vjp(parameters_.key_weights, key_weights_, d_effective, d_weights);
  }

 private:
  static constexpr double kLeastLength = 1e-6;

  static void check(std::string_view name, const std::vector<double>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!detail::is_finite(list[i])) {
        detail::fail(detail::text(name, "[", i, "]"), detail::text(list[i]), "a finite number");
      }
    }
  }
  void check_weights(std::string_view name, const std::vector<double>& list, bool wanted) const {
    check(name, list);
    const std::size_t sets = parameters_.omega.size();
    if (wanted ? list.empty() || list.size() % sets != 0 : !list.empty()) {
      detail::fail(name, detail::text(list.size(), " numbers"),
                   wanted
                       ? detail::text("head_dim numbers for each of the ", sets, " sets of omega")
                       : "none: this path has no such gate");
    }
  }
  static void check_vjp(std::span<const double> acting, std::span<const double> d_effective,
                        std::string_view name, std::span<const double> d_given) {
    const auto wanted = static_cast<Index>(acting.size());
    detail::check_entries("d_effective", d_effective.size(), wanted, "one for each parameter");
    detail::check_entries(name, d_given.size(), wanted, "one for each parameter");
  }

  static double length(std::span<const double> x) {
    double largest = 0, sum = 0;
    for (const double e : x) largest = (std::max)(largest, std::fabs(e));
    if (largest == 0) return 0;
    for (const double e : x) sum += (e / largest) * (e / largest);
    return largest * std::sqrt(sum);
  }
  std::span<const double> set(std::span<const double> weights, Index p) const {
    const auto width = static_cast<std::size_t>(static_cast<Index>(weights.size()) / sets());
    return weights.subspan(static_cast<std::size_t>(p) * width, width);
  }
  std::vector<double> effective(const std::vector<double>& weights) const {
    std::vector<double> out = weights;
    if (!parameters_.normalized || weights.empty()) return out;
    auto to = out.begin();
    for (Index p = 0; p < sets(); ++p) {
      const double by = (std::max)(length(set(weights, p)), kLeastLength);
      for (const double x : set(weights, p)) *to++ = x / by;
    }
    return out;
  }
  /// x / |x| moves by its tangent alone.
  void weights_vjp(std::span<const double> given, std::span<const double> acting,
                   std::span<const double> d_acting, std::span<double> d_given) const {
    auto to = d_given.begin();
    for (Index p = 0; p < sets(); ++p) {
      const auto d = set(d_acting, p), unit = set(acting, p);
      const double size = parameters_.normalized ? length(set(given, p)) : 1;
      double along = 0;
      if (parameters_.normalized && size > kLeastLength) {
        for (std::size_t i = 0; i < d.size(); ++i) along += d[i] * unit[i];
      }
      const double by = parameters_.normalized ? (std::max)(size, kLeastLength) : 1;
      for (std::size_t i = 0; i < d.size(); ++i) *to++ += (d[i] - along * unit[i]) / by;
    }
  }

  GateParameters parameters_;
  std::vector<double> omega_, query_weights_, key_weights_;  // as they act
};

}  // namespace grape::inline v0
