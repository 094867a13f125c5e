// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/error.hpp"
#include "grape/encoder/rotation_action.hpp"
#include "grape/generator/planes.hpp"
#include "grape/path/axial.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Prepares `action` for planes that turn by the coordinate of their axis, exactly at integer
/// coordinates of any size. Throws ArgumentError, and changes nothing, unless the path has an axis
/// for each plane and the positions a coordinate for each axis.
template <detail::PlaneGenerator G, Accumulator A>
void prepare(const G& generator, const AxialPath& path, const Positions& positions,
             RotationAction<A>& action) {
  const auto& planes = detail::planes_of(generator);
  if (path.planes() != planes.spectrum().planes()) {
    detail::fail("path", detail::text("axes for ", path.planes(), " planes"),
                 detail::text("the ", planes.spectrum().planes(), " planes of the spectrum"));
  }
  if (positions.axis_count() != path.axes()) {
    detail::fail("positions", detail::text(positions.axis_count(), " axes"),
                 detail::text("the ", path.axes(), " axes of the path"));
  }
  action.assign(planes, detail::PositionSource(positions, path.axis_of_plane()));
}

}  // namespace grape::inline v0
