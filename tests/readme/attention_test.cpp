// SPDX-License-Identifier: Apache-2.0
// The README's blocks about long rows of keys, threads and memory in attention.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <grape/grape.hpp>
#include <grape/interop/thread_pool.hpp>
#include <vector>

#include "support/random.hpp"

namespace {

constexpr grape::Index batch = 2, seq = 6, heads = 4, key_heads = 2, head_dim = 8;

TEST(Readme, ContextShift) {
  std::vector<float> data(batch * seq * key_heads * head_dim, 0.5f);
  const auto k = grape::blhd(data.data(), batch, seq, key_heads, head_dim);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const auto action = rope.at(grape::Positions::range(0, seq));
  grape::KeyValueCache<float> cache(batch, key_heads, head_dim, head_dim);
  cache.append(k, k, &action);
  const grape::Index kept = 1, gone = 3;
  // [readme]
  cache.erase(kept, kept + gone);                  // the oldest, but for the first few
  cache.shift(rope, {kept, cache.size(), -gone});  // the others close up; moves add up exactly
  cache.apply_shifts(rope);                        // and are made in one rotation
  // [/readme]
  EXPECT_EQ(cache.size(), seq - gone);
  EXPECT_FALSE(cache.shift_pending());
}

TEST(Readme, SlidingWindowOfForgetting) {
  constexpr grape::Index window = 3, draft = 2, tokens = 11;
  const grape::Index row = heads * head_dim, key_row = key_heads * head_dim;
  std::vector<float> q_data(batch * tokens * row), k_data(batch * tokens * key_row), v_data(k_data);
  std::vector<float> gate_data(batch * tokens * heads), out_data(q_data.size()), want(q_data);
  Random random(3);
  for (auto* x : {&q_data, &k_data, &v_data}) {
    for (float& e : *x) e = static_cast<float>(random.uniform(-1, 1));
  }
  for (float& g : gate_data) g = static_cast<float>(random.uniform(-1, 0));
  // Token t of each batch entry.
  const auto token = [](std::vector<float>& x, grape::Index t, grape::Index h, grape::Index d) {
    return grape::TensorView<float>(x.data() + t * h * d, {batch, 1, h, d},
                                    {tokens * h * d, h * d, d, 1});
  };
  const auto q = [&](grape::Index t) { return token(q_data, t, heads, head_dim); };
  const auto k = [&](grape::Index t) { return token(k_data, t, key_heads, head_dim); };
  const auto v = [&](grape::Index t) { return token(v_data, t, key_heads, head_dim); };
  const auto out = [&](grape::Index t) { return token(out_data, t, heads, head_dim); };
  const auto gates = [&](grape::Index t) { return token(gate_data, t, heads, 1); };
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const grape::FoX<float> fox(heads);
  // [readme]
  grape::KeyValueCache<float> cache(batch, key_heads, head_dim, head_dim);
  grape::RotationAction<float> turn;
  grape::BiasAction<float> forget;  // of every token so far: two numbers a token and head
  const auto decode = [&](grape::Index t) {
    rope.at(grape::Positions::range(t, 1), turn);
    cache.append(k(t), v(t), &turn);
    fox.append(gates(t), forget);     // the new token is its query
    cache.keep_last(window + draft);  // a refused draft must leave a whole window
    auto bias = grape::slice(forget, {.query = 0,
                                      .queries = 1,
                                      .key = forget.keys() - cache.size(),  // those that are left
                                      .keys = cache.size()});
    grape::attend(q(t), cache, out(t), {.rotation = &turn, .bias = &bias, .window = window});
  };
  for (grape::Index t = 0; t < tokens; ++t) decode(t);
  cache.truncate(cache.size() - draft);    // the last tokens were a draft, and are refused:
  forget.truncate(forget.keys() - draft);  // both forget them
  // [/readme]
  const auto whole = [&](std::vector<float>& x, grape::Index h) {
    return grape::blhd(x.data(), batch, tokens, h, head_dim);
  };
  const auto action = rope.at(grape::Positions::range(0, tokens));
  const auto bias = fox.at(grape::blh(gate_data.data(), batch, tokens, heads));
  grape::attend(whole(q_data, heads), whole(k_data, key_heads), whole(v_data, key_heads),
                whole(want, heads),
                {.rotation = &action, .bias = &bias, .causal = true, .window = window});
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(out_data[i], want[i], 16 * 0x1p-24);
  EXPECT_EQ(cache.size(), window);
  EXPECT_EQ(forget.keys(), tokens - draft);
  // The bias begun anew from the gates of the last tokens alone.
  const grape::Index first = tokens - window;
  const grape::TensorView<float> kept(gate_data.data() + first * heads, {batch, window, heads, 1},
                                      {tokens * heads, heads, 1, 1});
  const auto anew = fox.at(kept, grape::QueryRange{window - 1, 1});
  for (grape::Index j = 0; j < window; ++j) {
    EXPECT_FLOAT_EQ(anew(1, 2, 0, j), bias(1, 2, tokens - 1, first + j));
  }
  // The tokens again, accepted.
  std::fill(out_data.begin(), out_data.end(), 0.0F);
  for (grape::Index t = tokens - draft; t < tokens; ++t) {
    decode(t);
    for (grape::Index b = 0; b < batch; ++b) {
      for (grape::Index i = 0; i < row; ++i) {
        const auto at = static_cast<std::size_t>((b * tokens + t) * row + i);
        EXPECT_NEAR(out_data[at], want[at], 16 * 0x1p-24) << t;
      }
    }
  }
}

TEST(Readme, ShardsOfTheKeys) {
  std::vector<float> data(batch * seq * heads * head_dim, 0.5f), out_data(data.size());
  std::vector<float> part_data(data.size()), log_forget(batch * seq * heads, -0.5f);
  const auto q = grape::blhd(data.data(), batch, seq, heads, head_dim);
  const auto out = grape::blhd(out_data.data(), batch, seq, heads, head_dim);
  const auto part = grape::blhd(part_data.data(), batch, seq, heads, head_dim);
  const auto decay = grape::FoX<float>(heads).at(grape::blh(log_forget.data(), batch, seq, heads));
  const grape::Index rows = batch * heads * seq, half = seq / 2;
  std::vector<float> shard_data(batch * half * key_heads * head_dim, 0.25f);
  // [readme]
  std::vector<float> log_sum(rows, -INFINITY), part_log_sum(rows);  // nothing seen so far
  for (grape::Index first : {half, grape::Index{0}}) {              // shards, in any order
    auto k = grape::blhd(shard_data.data(), batch, half, key_heads, head_dim), v = k;
    auto bias = grape::slice(decay, {.query = 0, .queries = seq, .key = first, .keys = half});
    std::vector<grape::Index> offset{-first};  // where query 0 stands among the shard's keys
    grape::attend(
        q, k, v, part,
        {.bias = &bias, .causal = true, .query_offsets = offset, .log_sum = part_log_sum});
    grape::merge_attention(out, log_sum, part, part_log_sum);
  }
  // [/readme]
  EXPECT_FLOAT_EQ(out(1, 5, 3, 7), 0.25f);
  EXPECT_FLOAT_EQ(out(0, 0, 0, 0), 0.25f);
}

TEST(Readme, ThreadsAndMemory) {
  std::vector<float> data(batch * seq * heads * head_dim, 0.5f), out_data(data.size());
  const auto q = grape::blhd(data.data(), batch, seq, heads, head_dim), k = q, v = q;
  const auto out = grape::blhd(out_data.data(), batch, seq, heads, head_dim);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const auto action = rope.at(grape::Positions::range(0, seq));
  const auto positions = grape::Positions::range(0, seq);
  const auto bias = grape::ALiBi<float>(heads).at(positions, positions);
  // [readme]
  grape::AttendWorkspace<float> workspace;  // kept for all layers and steps: no memory is asked for
  Eigen::ThreadPool pool(3);                // grape/interop/thread_pool.hpp
  grape::AttendOptions<float> far{
      .rotation = &action, .bias = &bias, .causal = true, .skip_below = 1e-7};
  far.workspace = &workspace;
  grape::attend(q, k, v, out, far, grape::ThreadPool(pool));  // the bits of a serial call
  // [/readme]
  EXPECT_FLOAT_EQ(out(1, 5, 3, 7), 0.5f);
  EXPECT_GT(workspace.bytes(), 0);
}

}  // namespace
