// expect: a bias leaves keys
// SPDX-License-Identifier: Apache-2.0
// A bias that depends on where a query and a key stand has no part in the keys of a cache.
#include "grape/grape.hpp"

void f(const grape::FoX<float>& fox, grape::KeyValueCache<float>& cache) {
  cache.apply_shifts(fox);
}
