// expect: constraints not satisfied
// SPDX-License-Identifier: Apache-2.0
// An encoder is a generator and a path, in this order.
#include "grape/grape.hpp"

grape::Encoder<grape::LinearPath, grape::CanonicalPlanes<float>>* encoder = nullptr;
