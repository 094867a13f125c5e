// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "grape/core/config.hpp"

namespace grape::inline v0 {

/// What every function of grape throws when an argument cannot be used. The text names the
/// argument, what it got and what was wanted. It is thrown before anything is written.
class ArgumentError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Called with the error's text where GRAPE_NO_EXCEPTIONS is in force. It must not return; if it
/// does, the program is aborted, since the call that failed has no result to give.
using ErrorHandler = void (*)(const char* text);

namespace detail {

inline void default_error_handler(const char* text) {
  std::fputs(text, stderr);
  std::fputc('\n', stderr);
}

inline ErrorHandler& error_handler() {
  static ErrorHandler handler = &default_error_handler;
  return handler;
}

[[noreturn]] GRAPE_COLD inline void raise(const std::string& text) {
#if defined(GRAPE_NO_EXCEPTIONS)
  error_handler()(text.c_str());
  std::abort();
#else
  throw ArgumentError(text);
#endif
}

template <class T>
void append(std::string& out, const T& piece) {
  if constexpr (std::is_floating_point_v<T>) {
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.17g", static_cast<double>(piece));
    out += buffer;
  } else if constexpr (std::is_arithmetic_v<T>) {
    out += std::to_string(piece);
  } else {
    out += std::string_view(piece);
  }
}

/// The pieces in a row as one text; numbers are written out.
template <class... Pieces>
std::string text(const Pieces&... pieces) {
  std::string out;
  (append(out, pieces), ...);
  return out;
}

/// Reports that `argument` was `got` where `wanted` was needed.
[[noreturn]] GRAPE_COLD inline void fail(std::string_view argument, std::string_view got,
                                         std::string_view wanted) {
  raise(text("grape: ", argument, ": got ", got, ", wanted ", wanted));
}

/// Throws ArgumentError unless `argument` has as many entries as `meaning` says.
inline void check_entries(std::string_view argument, std::size_t got, std::ptrdiff_t wanted,
                          std::string_view meaning) {
  if (got != static_cast<std::size_t>(wanted)) {
    fail(argument, text(got, " entries"), text(wanted, " (", meaning, ")"));
  }
}

}  // namespace detail

/// Replaces the handler that GRAPE_NO_EXCEPTIONS calls; returns the one before. The default prints
/// the text to stderr. Call it at start-up: the handler is a plain global.
inline ErrorHandler set_error_handler(ErrorHandler handler) {
  ErrorHandler before = detail::error_handler();
  detail::error_handler() = handler != nullptr ? handler : &detail::default_error_handler;
  return before;
}

}  // namespace grape::inline v0
