// SPDX-License-Identifier: Apache-2.0
// Text from a model, byte by byte through its key and value cache.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include "model.hpp"

namespace lm {

/// `count` bytes that continue the prompt. Temperatures below 1 prefer likely bytes.
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
    Vector<double> weights = logits.bottomRows(1).transpose().template cast<double>() / temperature;
    weights = (weights.array() - weights.maxCoeff()).exp();
    double left = random.uniform() * weights.sum();
    Index pick = 0;
    while (pick + 1 < kBytes && left >= weights(pick)) left -= weights(pick++);
    byte = static_cast<Byte>(pick);
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
