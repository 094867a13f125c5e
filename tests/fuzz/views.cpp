// SPDX-License-Identifier: Apache-2.0
// Views of any extents and strides: those that are accepted reach no memory twice, and what the
// overlap search says of two of them is what counting says.
#include <array>
#include <cstddef>
#include <set>
#include <vector>

#include "fuzz.hpp"
#include "grape/core/view.hpp"

namespace {

using grape::Index;
constexpr Index kFloats = 4096;

std::set<Index> elements(const grape::TensorView<const float>& x, const float* begin) {
  std::set<Index> out;
  for (Index b = 0; b < x.batch(); ++b) {
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index h = 0; h < x.heads(); ++h) {
        for (Index d = 0; d < x.dim(); ++d) out.insert(&x(b, t, h, d) - begin);
      }
    }
  }
  return out;
}

// Whether the view stays within kFloats elements from `at` on, so that it may be read.
bool fits(const grape::TensorView<const float>& x, Index at) {
  if (x.empty()) return false;
  Index reach = at;
  for (std::size_t a = 0; a < 4; ++a) reach += (x.extent(a) - 1) * x.stride(a);
  return reach < kFloats && x.size() <= 512;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  static std::vector<float> memory(kFloats);
  std::vector<std::set<Index>> seen;
  std::vector<grape::TensorView<float>> views;
  for (int i = 0; i < 2; ++i) {
    std::array<Index, 4> extents{}, strides{};
    for (Index& e : extents) e = fuzz::integer<Index>(data);
    for (Index& s : strides) s = fuzz::integer<Index>(data);
    const Index at = data.ConsumeIntegralInRange<Index>(0, 64);
    const bool dense = data.ConsumeBool();
    float* const begin = memory.data() + at;
    fuzz::accepted([&] {
      const grape::TensorView<const float> repeated(begin, extents, strides);
      fuzz::require(repeated.size() >= 0, "a size is no negative number");
    });
    fuzz::accepted([&] {
      const auto x = dense ? grape::TensorView<float>(begin, extents)
                           : grape::TensorView<float>(begin, extents, strides);
      if (!fits(x, at)) return;
      std::set<Index> own = elements(x, memory.data());
      fuzz::require(static_cast<Index>(own.size()) == x.size(), "each index has its own element");
      views.push_back(x);
      seen.push_back(std::move(own));
    });
  }
  if (views.size() == 2) {
    bool shared = false;
    for (const Index i : seen[0]) shared = shared || seen[1].count(i) != 0;
    const bool said = grape::detail::share_elements(views[0], views[1]);
    fuzz::require(said || !shared, "views that share an element are found");
  }
  fuzz::accepted([&] {
    float* const begin = data.ConsumeBool() ? nullptr : memory.data();
    grape::bhqk(begin, fuzz::integer<Index>(data), fuzz::integer<Index>(data),
                fuzz::integer<Index>(data), fuzz::integer<Index>(data));
  });
  return 0;
}
