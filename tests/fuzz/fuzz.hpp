// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: bad input may make an ArgumentError and nothing else.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "grape/core/error.hpp"

namespace fuzz {

/// Ends the run with its input saved, in every build type.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// Whether `use` went through; an ArgumentError is a proper answer, anything else ends the run.
template <class Use>
bool accepted(Use&& use) {
  try {
    use();
    return true;
  } catch (const grape::ArgumentError& error) {
    require(error.what()[0] != '\0', "an error has a text");
    return false;
  }
}

/// Any integer, often a small one and often one next to a limit.
template <class Int = std::int64_t>
Int integer(FuzzedDataProvider& data) {
  switch (data.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return data.ConsumeIntegral<Int>();
    case 1:
      return static_cast<Int>(Int{1} << data.ConsumeIntegralInRange(0, int{sizeof(Int)} * 8 - 2));
    default:
      return static_cast<Int>(data.ConsumeIntegralInRange(-2, 9));
  }
}

/// Any double, often a plain one.
inline double real(FuzzedDataProvider& data) {
  return data.ConsumeBool() ? data.ConsumeFloatingPoint<double>()
                            : data.ConsumeFloatingPointInRange(-2.0, 200.0);
}

}  // namespace fuzz
