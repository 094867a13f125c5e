// SPDX-License-Identifier: Apache-2.0
// Random matrices and planes.
#pragma once

#include <Eigen/Core>

#include "support/random.hpp"

inline Eigen::MatrixXd random_matrix(Random& random, Eigen::Index rows, Eigen::Index cols,
                                     double size = 1) {
  Eigen::MatrixXd out(rows, cols);
  for (double& entry : out.reshaped()) entry = random.uniform(-size, size);
  return out;
}

// Planes (an aggregate of a [d, m], b [d, m] and theta [m]) in general position.
template <class Planes>
Planes random_planes(Random& random, Eigen::Index d, Eigen::Index m) {
  return {random_matrix(random, d, m), random_matrix(random, d, m), random_matrix(random, m, 1)};
}
