// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// The planes of several spectra, one spectrum behind the other: a separable encoding with a
/// spectrum for each axis (appendix G), each on its own part of the head. A part of one set is
/// shared by all sets of the others. Throws ArgumentError for no parts, for numbers of sets that
/// differ, or attention factors that differ.
inline Spectrum concatenated(const std::vector<Spectrum>& parts) {
  if (parts.empty()) detail::fail("parts", "0 spectra", "at least one");
  Index sets = 1;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string name = detail::text("parts[", i, "]");
    if (parts[i].sets() != 1 && sets != 1 && parts[i].sets() != sets) {
      detail::fail(name, detail::text(parts[i].sets(), " sets"), detail::text(sets, " sets, or 1"));
    }
    if (parts[i].sets() != 1) sets = parts[i].sets();
    if (parts[i].attention_factor() != parts[0].attention_factor()) {
      detail::fail(name, detail::text("attention factor ", parts[i].attention_factor()),
                   detail::text("that of the first part, ", parts[0].attention_factor()));
    }
  }
  std::vector<double> theta;
  for (Index set = 0; set < sets; ++set) {
    for (const Spectrum& part : parts) {
      for (Index m = 0; m < part.planes(); ++m)
        theta.push_back(part(part.sets() == 1 ? 0 : set, m));
    }
  }
  return Spectrum::per_head(std::move(theta), sets, parts[0].attention_factor());
}

}  // namespace spectrum
}  // namespace grape::inline v0
