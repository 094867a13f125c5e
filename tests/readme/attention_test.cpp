// SPDX-License-Identifier: Apache-2.0
// The README's blocks about long rows of keys, threads and memory in attention.
#include <gtest/gtest.h>

#include <cmath>
#include <grape/grape.hpp>
#include <grape/interop/thread_pool.hpp>

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
