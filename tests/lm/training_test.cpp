// SPDX-License-Identifier: Apache-2.0
// Training is deterministic and learns; the cache changes nothing.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/lm/generate.hpp"
#include "examples/lm/train.hpp"

namespace lm {
namespace {

std::vector<Byte> random_text(std::size_t size, int kinds) {
  NormalSource random(11);
  std::vector<Byte> text(size);
  for (auto& byte : text) byte = static_cast<Byte>(random.uniform() * kinds);
  return text;
}

class Training : public testing::TestWithParam<const char*> {};

TEST_P(Training, DoesNotDependOnTheNumberOfThreads) {
  const std::vector<Byte> text = random_text(2000, 40);
  const auto run = [&](int threads) {
    Trainer<float> trainer({16, 2, 2, GetParam()}, {4, 24, 5, 1e-2, 9, threads});
    std::vector<double> losses;
    for (int step = 0; step < 4; ++step) losses.push_back(trainer.step(text));
    for (const double loss : trainer.evaluate(text, 31, 310)) losses.push_back(loss);
    return losses;
  };
  const std::vector<double> one = run(1);
  EXPECT_NE(one[0], one[3]);
  EXPECT_EQ(one, run(1));
  EXPECT_EQ(one, run(2));
  EXPECT_EQ(one, run(3));
}

TEST_P(Training, LearnsARepeatedText) {
  std::vector<Byte> text(1000);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<Byte>("position"[i % 8]);
  Trainer<float> trainer({16, 1, 2, GetParam()}, {200, 16, 4, 1e-2, 5, 1});
  double loss = 0;
  for (int step = 0; step < 200; ++step) loss = trainer.step(text);
  // Seven kinds of byte, one of them after either of two: guessing from the kinds alone gives more
  // than log(7), a rule learned gives a small part of it.
  EXPECT_LT(loss, 0.5 * std::log(7.0));
}

// Decoding in pieces of any size gives the probabilities of the forward pass over the whole, also
// where a query sees the last keys alone and the cache lets go of the others.
TEST_P(Training, CacheEqualsForwardPass) {
  constexpr Index kTokens = 70;  // more than a tile of keys
  const std::vector<Byte> text = random_text(kTokens + 1, 256);
  for (const std::optional<Index> window : {std::optional<Index>(), std::optional<Index>(19)}) {
    Model<double> model({16, 2, 2, GetParam(), window});
    const Vector<double> parameters = initial_parameters<double>(model.layout(), 21);
    const Vector<double> losses = model.losses(parameters, text, 1);
    for (const Index piece : {Index{1}, Index{3}, Index{66}, kTokens}) {
      for (Index start = 0; start < kTokens; start += piece) {
        const Index count = std::min(piece, kTokens - start);
        const auto next = std::span(text).subspan(static_cast<std::size_t>(start),
                                                  static_cast<std::size_t>(count));
        const Matrix<double> logits = model.decode(parameters, next, start);
        ASSERT_EQ(logits.rows(), count);
        for (Index i = 0; i < count; ++i) {
          const auto row = logits.row(i).array();
          const double loss = std::log((row - row.maxCoeff()).exp().sum()) + row.maxCoeff() -
                              row(text[static_cast<std::size_t>(start + i + 1)]);
          // Sums in another order: some hundred roundings on the way to a logit of order 1.
          EXPECT_NEAR(loss, losses(start + i), 1e3 * std::numeric_limits<double>::epsilon())
              << "piece " << piece << ", position " << start + i;
        }
      }
    }
  }
}

TEST_P(Training, GeneratesTheSameForASeed) {
  const std::vector<Byte> prompt = random_text(5, 256);
  Model<float> model({16, 1, 2, GetParam()});
  const auto parameters = initial_parameters<float>(model.layout(), 2);
  const std::string text = generate(model, parameters, prompt, 30, 1);
  EXPECT_EQ(text.size(), 30u);
  EXPECT_EQ(text, generate(model, parameters, prompt, 30, 1));
  EXPECT_NE(text, generate(model, parameters, prompt, 30, 2));
}

INSTANTIATE_TEST_SUITE_P(Encodings, Training,
                         testing::Values("none", "rope", "alibi", "fox", "grape_a_q", "grape_a_k",
                                         "grape_a_qk", "grape_m", "grape_m_ctx", "grape_m_frame",
                                         "grape_ap", "kvshift", "alibi+fox",
                                         "grape_ap+rope+kvshift"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '+' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace lm
