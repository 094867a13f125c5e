// expect: Pairing
// SPDX-License-Identifier: Apache-2.0
// The pairing of coordinates is an enumeration, so that no flag can mean the other one.
#include "grape/grape.hpp"

grape::RoPE<float, true>* rope = nullptr;
