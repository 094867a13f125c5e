// expect: of a pointer pass *pointer
// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/dlpack.hpp"

grape::TensorView<float> f(grape::dlpack::ManagedTensor* tensor) {
  return grape::dlpack_view<float>(tensor);
}
