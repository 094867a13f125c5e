// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/pairing.hpp"

// Calls f, a lambda with a template parameter, for each pairing.
template <class F>
void for_both_pairings(F&& f) {
  f.template operator()<grape::Pairing::interleaved>();
  f.template operator()<grape::Pairing::half_split>();
}
