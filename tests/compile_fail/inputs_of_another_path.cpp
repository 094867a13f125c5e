// expect: query and key Positions for a bias
// SPDX-License-Identifier: Apache-2.0
// A bias relates queries and keys: one list of positions is not enough.
#include "grape/grape.hpp"

void f(const grape::ALiBi<float>& alibi) { alibi.at(grape::Positions::range(0, 4)); }
