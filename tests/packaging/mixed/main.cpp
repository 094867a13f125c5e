// SPDX-License-Identifier: Apache-2.0
// Whoever prepares and whoever applies: the same numbers to rounding.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>

#include "side.hpp"

namespace {

/// Sums of at most kSeq terms, each rounded, in softmax's weights and after them.
constexpr float kFloat = 2.0f * static_cast<float>(kSeq) * 0x1p-24f;
/// One rounding, to the one neighbour or the other.
constexpr float kHalf = 0x1p-10f;

bool is_close(const std::vector<float>& got, const std::vector<float>& want, float most) {
  float scale = 1;
  for (const float w : want) scale = std::max(scale, std::fabs(w));
  if (got.size() != want.size()) return false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::fabs(got[i] - want[i]) <= most * scale)) {
      std::printf("number %zu: %.9g, wanted %.9g\n", i, got[i], want[i]);
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  const Side* sides[] = {&plain, &vectorized};
  grape::AttendWorkspace<float> shared;
  std::vector<float> want, want_half, steps;
  bool right = true;
  for (const Side* first : sides) {
    const Actions actions = first->prepare();
    for (const Side* second : sides) {
      const std::vector<float> got = second->apply(actions, shared);
      if (want.empty()) want = got;
      right = is_close(got, want, kFloat) && right;
      const std::vector<float> half = second->apply_half(actions);
      if (want_half.empty()) want_half = half;
      right = is_close(half, want_half, kHalf) && right;

      grape::KeyValueCache<float> cache(kBatch, kKeyHeads, kDim, kDim);
      std::vector<float> all = first->decode(cache, 0);
      for (const float x : second->decode(cache, 33)) all.push_back(x);
      for (const float x : first->decode(cache, 66)) all.push_back(x);
      if (steps.empty()) steps = all;
      right = is_close(all, steps, kFloat) && right;
    }
  }
  std::puts(right ? "right" : "wrong");
  return right ? 0 : 1;
}
