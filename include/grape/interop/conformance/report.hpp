// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0::conformance {

namespace detail {

/// A number for a person to read.
inline std::string brief(double x, int digits = 3) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.*g", digits, x);
  return buffer;
}

}  // namespace detail

/// A check that did not hold: what it is called, the worst error, what would have been allowed, and
/// what was compared.
struct Failure {
  std::string check;
  double error = 0;
  double allowed = 0;
  std::string what;
};

/// What the checks of one kernel found. A kernel conforms if passed().
struct Report {
  std::vector<std::string> checks;  ///< the names of all checks that ran, each once
  std::vector<Failure> failures;    ///< at most one of each name, with its worst error
  /// What was not checked, since the kernel does not claim it: `name: why` each.
  std::vector<std::string> skipped;

  bool passed() const { return !checks.empty() && failures.empty(); }
  bool failed(std::string_view check) const {
    return std::any_of(failures.begin(), failures.end(),
                       [&](const Failure& f) { return f.check == check; });
  }
  /// A line for each failure, or one that says that there is none; then one for each check that
  /// was skipped.
  std::string text() const {
    std::string out;
    if (failures.empty()) out = grape::detail::text("all of ", checks.size(), " checks hold\n");
    for (const Failure& f : failures) {
      out += grape::detail::text(f.check, ": ", f.what, " (error ", detail::brief(f.error),
                                 ", allowed ", detail::brief(f.allowed), ")\n");
    }
    for (const std::string& s : skipped) out += "not checked: " + s + "\n";
    return out;
  }

  /// Notes that a check ran, and a failure unless error <= allowed (a NaN fails).
  void expect(std::string_view check, double error, double allowed, std::string_view what) {
    if (std::find(checks.begin(), checks.end(), check) == checks.end()) checks.emplace_back(check);
    if (error <= allowed) return;
    for (Failure& f : failures) {
      if (f.check == check) {
        if (!(error / allowed <= f.error / f.allowed))
          f = {f.check, error, allowed, std::string(what)};
        return;
      }
    }
    failures.push_back({std::string(check), error, allowed, std::string(what)});
  }
};

namespace detail {

/// Half the distance from 1 to the next number: what one rounding may cost, relatively.
template <Element T>
constexpr double rounding() {
  if constexpr (std::same_as<T, double>) {
    return 0x1p-53;
  } else if constexpr (std::same_as<T, float>) {
    return 0x1p-24;
  } else if constexpr (std::same_as<T, Eigen::half>) {
    return 0x1p-11;
  } else {
    return 0x1p-8;
  }
}

inline void check_roundings(std::string_view argument, double roundings) {
  if (!(roundings > 0 && roundings <= 1e6)) {
    grape::detail::fail(argument, grape::detail::text(roundings), "a number in (0, 1e6]");
  }
}

inline void check_angle_error(std::string_view argument, double angle_error) {
  if (!(angle_error >= 0 && angle_error <= 0.01)) {
    grape::detail::fail(argument, grape::detail::text(angle_error), "a number in [0, 0.01]");
  }
}

/// The greater of two errors; one that is NaN or infinite stays, as infinity.
inline double worse(double a, double b) {
  return grape::detail::is_finite(b) ? (std::max)(a, b) : std::numeric_limits<double>::infinity();
}

/// The same numbers on every machine, in [-1, 1) and representable in any element type's range.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 2 + 1) {}
  double next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<double>(state_ >> 11) * 0x1p-52 - 1;
  }
  template <Element T>
  std::vector<T> list(Index count) {
    std::vector<T> out;
    for (Index i = 0; i < count; ++i) out.push_back(static_cast<T>(next()));
    return out;
  }

 private:
  std::uint64_t state_;
};

template <class T>
std::vector<T> rounded(const double* data, std::size_t count) {
  std::vector<T> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<T>(data[i]));
  return out;
}

}  // namespace detail

}  // namespace grape::inline v0::conformance
