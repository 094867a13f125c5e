// SPDX-License-Identifier: Apache-2.0
// The code of the page on checking kernels of one's own.
#include <gtest/gtest.h>

// [readme]
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <grape/interop/conformance.hpp>
#include <vector>
// [/readme]

#include <string>

namespace {

// [readme]

using namespace grape::conformance;

// An engine's own: x [seq, heads, dim], pairs (m, m + dim/2), angles in float as in most engines.
void engine_rope(float* x, const int* positions, int seq, int heads, int dim, float base) {
  const int half = dim / 2;
  for (int t = 0; t < seq; ++t) {
    for (int m = 0; m < half; ++m) {
      const float theta = std::pow(base, -static_cast<float>(m) / static_cast<float>(half));
      const float angle = static_cast<float>(positions[t]) * theta;
      const float c = std::cos(angle), s = std::sin(angle);
      for (int h = 0; h < heads; ++h) {
        float* row = x + (t * heads + h) * dim;
        const float x0 = row[m], x1 = row[m + half];
        row[m] = x0 * c - x1 * s;
        row[m + half] = x0 * s + x1 * c;
      }
    }
  }
}

// What the kit calls: the views are dense [1, seq, heads, dim].
void rope_kernel(const RotationCase& c, grape::TensorView<float> x) {
  const std::vector<int> positions(c.positions.begin(), c.positions.end());
  engine_rope(x.data(), positions.data(), int(x.seq()), int(x.heads()), int(x.dim()),
              float(c.base));
}
// [/readme]

// [readme]
// scores [heads, queries, keys] += (j - i) slope, where query i is the token of key i + first.
void engine_alibi(float* scores, const double* slopes, int heads, int queries, int keys,
                  int first) {
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < queries; ++i) {
      for (int j = 0; j <= i + first; ++j) {
        *(scores + (h * queries + i) * keys + j) += float(j - (i + first)) * float(slopes[h]);
      }
    }
  }
}

void alibi_kernel(const BiasCase& c, grape::ScoreView<float> scores) {
  engine_alibi(scores.data(), c.slopes.data(), int(scores.heads()), int(scores.queries()),
               int(scores.keys()), int(c.first_query));
}
// [/readme]

// [readme]
// One head, q [queries, dim] with a stride of heads * dim, as are k, v and out; causal.
void engine_attention(const float* q, const float* k, const float* v, float* out, int stride,
                      int dim, int queries, int first) {
  for (int i = 0; i < queries; ++i) {
    std::vector<float> row(static_cast<std::size_t>(dim));
    float sum = 0, greatest = -INFINITY;
    for (int j = 0; j <= i + first; ++j) {
      float logit = 0;
      for (int d = 0; d < dim; ++d) logit += q[i * stride + d] * k[j * stride + d];
      logit /= std::sqrt(float(dim));
      const float before = greatest;
      greatest = std::fmax(greatest, logit);
      const float keep = std::exp(before - greatest), weight = std::exp(logit - greatest);
      sum = sum * keep + weight;
      for (int d = 0; d < dim; ++d) {
        float& mean = row[static_cast<std::size_t>(d)];
        mean = mean * keep + weight * v[j * stride + d];
      }
    }
    for (int d = 0; d < dim; ++d) out[i * stride + d] = row[static_cast<std::size_t>(d)] / sum;
  }
}

void attention_kernel(const AttentionCase<float>& c, grape::TensorView<float> out) {
  const int heads = int(c.q.heads()), dim = int(c.q.dim());
  // Copies of q and k, rotated by the engine: query i stands where key i + first_query does.
  const auto rotated = [&](grape::TensorView<const float> x, std::int64_t first) {
    std::vector<float> copy(x.data(), x.data() + x.size());
    std::vector<int> positions;
    for (int t = 0; t < int(x.seq()); ++t) positions.push_back(int(c.first_position + first) + t);
    engine_rope(copy.data(), positions.data(), int(x.seq()), heads, dim, 10000.0F);
    return copy;
  };
  const std::vector<float> q = rotated(c.q, c.first_query), k = rotated(c.k, 0);
  for (int h = 0; h < heads; ++h) {
    engine_attention(q.data() + h * dim, k.data() + h * dim, c.v.data() + h * dim,
                     out.data() + h * dim, heads * dim, dim, int(out.seq()), int(c.first_query));
  }
}
// [/readme]

std::vector<std::string> failed_checks(const Report& report) {
  std::vector<std::string> out;
  for (const Failure& failure : report.failures) out.push_back(failure.check);
  return out;
}

TEST(Pages, ConformanceOfARotation) {
  // [readme]
  const Report report =
      check_rotation<float>(rope_kernel, {.pairing = grape::Pairing::half_split, .partial = false});
  std::fputs(report.text().c_str(), stdout);
  // [/readme]
  EXPECT_EQ(failed_checks(report),
            (std::vector<std::string>{"precision", "composition", "large_positions"}))
      << report.text();
  EXPECT_NE(report.text().find("worst at position -1000; angles computed in float32?"),
            std::string::npos)
      << report.text();
}

TEST(Pages, ConformanceOfFloatAngles) {
  // [readme]
  const Report report = check_rotation<float>(rope_kernel, {.pairing = grape::Pairing::half_split,
                                                            .partial = false,
                                                            .greatest_position = 131071,
                                                            .angle_error = 0x1p-22});
  // [/readme]
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.text(),
            "all of 8 checks hold\nnot checked: rest: options.partial is false\n"
            "not checked: large_positions from 1048575 on: options.greatest_position 131071\n");
  const Report wrong = check_rotation<float>(rope_kernel, {.partial = false});
  EXPECT_TRUE(wrong.failed("pairing")) << wrong.text();
}

TEST(Pages, ConformanceOfABias) {
  // [readme]
  const Report report = check_bias<float>(alibi_kernel);
  if (!report.passed()) std::fputs(report.text().c_str(), stdout);
  // [/readme]
  EXPECT_TRUE(report.passed()) << report.text();
}

TEST(Pages, ConformanceOfAttention) {
  // [readme]
  const Report report =
      check_attention<float>(attention_kernel, {.family = AttentionFamily::rope,
                                                .pairing = grape::Pairing::half_split,
                                                .greatest_position = 131071,
                                                .angle_error = 0x1p-22});
  // [/readme]
  EXPECT_TRUE(report.passed()) << report.text();
}

}  // namespace
