// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace grape::inline v0 {

/// What turns positions, and token features where the method is contextual, into the group
/// parameter. `Input` is what it takes for one side (queries or keys).
template <class P>
concept Path = requires {
  typename P::Input;
};

}  // namespace grape::inline v0
