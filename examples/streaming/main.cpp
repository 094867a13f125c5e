// SPDX-License-Identifier: Apache-2.0
//
// Decoding token by token without an attention cache of grape's: what an engine with kernels of its
// own needs. Rotations are prepared again for each token, biases are appended to, and a draft that
// is refused is taken back, by a copy (a snapshot, which costs nothing until one of the two goes
// on) or by truncate. The result has the bits of the whole sequence at once.

#include <cmath>
#include <cstdint>
#include <grape/grape.hpp>
#include <iomanip>
#include <iostream>
#include <vector>

namespace {

using grape::Index;
using grape::Positions;

constexpr Index kHeads = 2, kDim = 8, kSeq = 12, kDraft = 3;

/// Log forget gates of a token, [heads]: token 6 forgets nearly all that was before it.
std::vector<float> log_gates(Index token) {
  const float logit = token == 6 ? -3.0F : 2.0F + 0.1F * static_cast<float>(token);
  return {grape::log_sigmoid(logit), grape::log_sigmoid(logit + 1)};
}

std::vector<float> embedding(Index token) {
  std::vector<float> out(kHeads * kDim);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = std::cos(static_cast<float>(i) + 2.0F * static_cast<float>(token));
  }
  return out;
}

/// The encodings of a stream: everything that depends on the tokens so far.
struct Stream {
  grape::RoPE<float> rope{grape::spectrum::log_uniform(kDim)};
  grape::FoX<float> fox{kHeads};
  grape::ALiBi<float> alibi{kHeads};
  grape::RotationAction<float> turn;       // of the newest token
  grape::BiasAction<float> forget, slope;  // of all tokens; the newest asks
  std::vector<float> keys;                 // rotated once, when they came

  /// The row of biases [heads, keys] of a new token.
  std::vector<float> push(Index token) {
    const std::vector<float> gates = log_gates(token);
    fox.append(grape::blh(gates.data(), 1, 1, kHeads), forget);
    alibi.append(Positions::range(token, 1), slope);

    std::vector<float> key = embedding(token);
    rope.at(Positions::range(token, 1), turn);  // no allocation from the second token on
    grape::apply_rotation(turn, grape::blhd(key.data(), 1, 1, kHeads, kDim));
    keys.insert(keys.end(), key.begin(), key.end());

    std::vector<float> row(static_cast<std::size_t>(kHeads * (token + 1)), 0.0F);
    const auto scores = grape::bhqk(row.data(), 1, kHeads, 1, token + 1);
    grape::add_bias(forget, scores);
    grape::add_bias(slope, scores);
    return row;
  }

  /// Takes back all but the first `count` tokens.
  void roll_back(Index count) {
    forget.truncate(count);
    slope.truncate(count);
    keys.resize(static_cast<std::size_t>(count * kHeads * kDim));
  }
};

}  // namespace

int main() {
  Stream stream;
  std::vector<float> row;
  for (Index t = 0; t < kSeq - 2; ++t) row = stream.push(t);

  std::cout << std::fixed << std::setprecision(2) << "bias of token 9 by key, first head:";
  for (Index j = 0; j < kSeq - 2; ++j) std::cout << ' ' << row[static_cast<std::size_t>(j)];
  std::cout << '\n';

  // A draft, in a copy: the stream itself has not moved.
  Stream draft = stream;
  for (Index t = 0; t < kDraft; ++t) draft.push(kSeq - 2 + t);
  std::cout << "a draft of " << kDraft << " tokens: " << draft.forget.keys() << " keys, the stream "
            << stream.forget.keys() << '\n';

  // A draft in place, refused.
  for (Index t = kSeq - 2; t < kSeq + 1; ++t) stream.push(t);
  stream.roll_back(kSeq - 2);
  for (Index t = kSeq - 2; t < kSeq; ++t) row = stream.push(t);

  // The whole at once.
  std::vector<float> gates, keys;
  for (Index t = 0; t < kSeq; ++t) {
    for (const float g : log_gates(t)) gates.push_back(g);
    for (const float x : embedding(t)) keys.push_back(x);
  }
  grape::apply_rotation(stream.rope, Positions::range(0, kSeq),
                        grape::blhd(keys.data(), 1, kSeq, kHeads, kDim));
  std::vector<float> scores(static_cast<std::size_t>(kHeads * kSeq * kSeq), 0.0F);
  const auto whole = grape::bhqk(scores.data(), 1, kHeads, kSeq, kSeq);
  grape::add_bias(stream.fox.at(grape::blh(gates.data(), 1, kSeq, kHeads)), whole);
  grape::add_bias(stream.alibi.at(Positions::range(0, kSeq), Positions::range(0, kSeq)), whole);

  bool same = keys == stream.keys;
  for (Index h = 0; h < kHeads; ++h) {
    for (Index j = 0; j < kSeq; ++j) {
      same = same && whole(0, h, kSeq - 1, j) == row[static_cast<std::size_t>(h * kSeq + j)];
    }
  }
  std::cout << "keys and biases are those of the whole sequence at once, to the bit: "
            << (same ? "yes" : "no") << '\n';
  return same ? 0 : 1;
}
