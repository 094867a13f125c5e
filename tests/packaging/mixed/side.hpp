// SPDX-License-Identifier: Apache-2.0
// One program of two translation units that are compiled with different flags (each of side.cpp):
// what one prepares, the other applies, and they share a workspace and a cache.
#pragma once

#include <grape/grape.hpp>
#include <vector>

constexpr grape::Index kBatch = 2, kSeq = 150, kHeads = 4, kKeyHeads = 2, kDim = 24, kWidth = 5;

struct Actions {
  grape::RotationAction<float> planes, frame;
  grape::BiasAction<float> gates, edges;
};

struct Side {
  Actions (*prepare)();
  /// The results of rotating, adding biases and attending, forward and backward, in a row.
  std::vector<float> (*apply)(const Actions&, grape::AttendWorkspace<float>&);
  /// The same of a rotation in half.
  std::vector<float> (*apply_half)(const Actions&);
  /// Caches the tokens from `first` on, and attends to all that are there.
  std::vector<float> (*decode)(grape::KeyValueCache<float>&, grape::Index first);
};

extern const Side plain, vectorized;
