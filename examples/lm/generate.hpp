// SPDX-License-Identifier: Apache-2.0
// Text from a model, byte by byte through its key and value cache.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include "model.hpp"

namespace lm {

/// A byte drawn by its logits. Temperatures below 1 prefer likely bytes.
template <class Logits>
Byte pick(const Logits& logits, double temperature, NormalSource& random) {
  Vector<double> weights = logits.transpose().template cast<double>() / temperature;
  weights = (weights.array() - weights.maxCoeff()).exp();
  double left = random.uniform() * weights.sum();
  Index byte = 0;
  while (byte + 1 < kBytes && left >= weights(byte)) left -= weights(byte++);
  return static_cast<Byte>(byte);
}

/// `count` bytes that continue the prompt.
template <class Scalar>
std::string generate(Model<Scalar>& model, const Vector<Scalar>& parameters,
                     std::span<const Byte> prompt, Index count, std::uint64_t seed,
                     double temperature = 0.6) {
  NormalSource random(seed);
  std::string text;
  Index position = 0;
  std::span<const Byte> next = prompt;
  Byte byte = 0;
  while (static_cast<Index>(text.size()) < count) {
    const auto& logits = model.decode(parameters, next, position);
    position += static_cast<Index>(next.size());
    byte = pick(logits.bottomRows(1), temperature, random);
    text.push_back(static_cast<char>(byte));
    next = std::span(&byte, 1);
  }
  return text;
}

/// For a terminal: control bytes and bytes beyond ASCII become '.'.
inline std::string printable(std::string text) {
  for (char& c : text) {
    if (c != '\n' && c != '\t' && (c < ' ' || c > '~')) c = '.';
  }
  return text;
}

}  // namespace lm
