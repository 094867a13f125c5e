// SPDX-License-Identifier: Apache-2.0
// Causal attention over one sequence whose tokens are spread over MPI processes: keys and values go
// from process to process (ring attention), each attends its own queries to what it holds at the
// time, and merge_attention joins the parts. README.md beside this file plans it for many machines.
#pragma once

#include <mpi.h>

#include <algorithm>
#include <grape/grape.hpp>
#include <limits>
#include <utility>
#include <vector>

namespace ring {

using grape::Index;
using Floats = std::vector<float>;

inline constexpr Index kHeads = 4, kDim = 32, kWidth = 8;  // kWidth: of GRAPE-AP's features

/// Which tokens each process has: the first ones the fewest, the last ones thrice as many.
struct Shards {
  Index tokens;
  int rank = 0, ranks = 1;

  Index first(int of) const { return tokens * of * (of + ranks) / (2 * ranks * ranks); }
  Index count(int of) const { return first(of + 1) - first(of); }
};

/// A sequence, or some tokens of it: [tokens, heads, dim], and log gates [tokens, heads].
struct Tokens {
  Floats q, k, v, features;
  std::vector<double> gates;
};

inline auto view(Floats& x, Index width = kDim) {
  return grape::blhd(x.data(), 1, static_cast<Index>(x.size()) / (kHeads * width), kHeads, width);
}

/// What goes round: the keys and values of a shard, and for FoX its gates and their sum before it.
struct Block {
  Floats k, v;
  std::vector<double> gates, before;

  /// Calls transfer(data, bytes) for each array, sized for `count` tokens.
  template <class Transfer>
  void for_each_array(Index count, const Transfer& transfer) {
    const auto one = [&](auto& x, Index size) {
      x.resize(static_cast<std::size_t>(size));
      transfer(x.data(), static_cast<int>(x.size() * sizeof x[0]));
    };
    for (Floats* x : {&k, &v}) one(*x, count * kHeads * kDim);
    one(gates, count * kHeads);
    one(before, kHeads);
  }
};

/// Attends q to all tokens up to its own: first to those of `block`, this process's own, then to
/// the shards before, from the nearest to the farthest. Later shards are of no use here, so the
/// ring is open: a process passes on what it holds to the next one while it computes.
/// bias(shard, block) is what the encoding adds there, if anything.
template <class Bias>
Floats attention(const Shards& shards, Floats q, Block block, const Bias& bias) {
  const auto rows = static_cast<std::size_t>(shards.count(shards.rank) * kHeads);
  Floats out(q.size()), part(q.size()), part_log_sum(rows);
  Floats log_sum(rows, -std::numeric_limits<float>::infinity());
  Block next;
  for (int shard = shards.rank; shard >= 0; --shard) {
    std::vector<MPI_Request> requests;
    if (shards.rank + 1 < shards.ranks) {
      block.for_each_array(shards.count(shard), [&](void* data, int bytes) {
        MPI_Isend(data, bytes, MPI_BYTE, shards.rank + 1, 0, MPI_COMM_WORLD,
                  &requests.emplace_back());
      });
    }
    if (shard > 0) {
      next.for_each_array(shards.count(shard - 1), [&](void* data, int bytes) {
        MPI_Irecv(data, bytes, MPI_BYTE, shards.rank - 1, 0, MPI_COMM_WORLD,
                  &requests.emplace_back());
      });
    }
    const grape::BiasAction<float> here = bias(shard, block);
    grape::attend(view(q), view(block.k), view(block.v), view(part),
                  {.bias = here.has_source() ? &here : nullptr,
                   .causal = shard == shards.rank,
                   .log_sum = part_log_sum});
    grape::merge_attention(view(out), log_sum, view(part), part_log_sum);
    MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
    std::swap(block, next);
  }
  return out;
}

inline grape::RoPE<float> rope() { return grape::RoPE<float>(grape::spectrum::log_uniform(kDim)); }

/// RoPE: each process turns its own queries and keys by their positions in the whole sequence; keys
/// go round turned.
inline Floats rope_attention(const Shards& shards, Tokens mine) {
  const auto here = grape::Positions::range(shards.first(shards.rank), shards.count(shards.rank));
  grape::apply_rotation(rope(), here, view(mine.q), view(mine.k));
  return attention(shards, mine.q, {mine.k, mine.v, mine.gates, {}},
                   [](int, const Block&) { return grape::BiasAction<float>(); });
}

/// FoX: the decay between two tokens is the sum of the gates between them. Those of other shards
/// come in as one number a head, the difference of what an exclusive scan gave to each: it is added
/// to the gate of this shard's first token, which every query here has behind it.
inline Floats fox_attention(const Shards& shards, const Tokens& mine) {
  std::vector<double> total(kHeads, 0.0), before(kHeads, 0.0);
  for (std::size_t i = 0; i < mine.gates.size(); ++i) total[i % kHeads] += mine.gates[i];
  MPI_Exscan(total.data(), before.data(), kHeads, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  if (shards.rank == 0) before.assign(kHeads, 0.0);  // which the scan leaves undefined
  const grape::FoX<float> fox(kHeads);
  const auto bias = [&](int shard, const Block& block) {
    std::vector<double> gates = block.gates;
    if (shard != shards.rank && !mine.gates.empty()) {
      gates.insert(gates.end(), mine.gates.begin(), mine.gates.end());
      for (std::size_t h = 0; h < kHeads; ++h) {
        double between = before[h] - block.before[h];
        for (std::size_t i = h; i < block.gates.size(); i += kHeads) between -= block.gates[i];
        gates[block.gates.size() + h] += std::min(between, 0.0);
      }
    }
    const Index seq = static_cast<Index>(gates.size()) / kHeads, count = shards.count(shards.rank);
    const auto decay =
        fox.at(grape::blh(gates.data(), 1, seq, kHeads), grape::QueryRange{seq - count, count});
    return grape::slice(decay, {0, count, 0, shards.count(shard)});
  };
  return attention(shards, mine.q, {mine.k, mine.v, mine.gates, before}, bias);
}

/// A shard's keys of a path integral. Edges from a query to the tokens behind the shard were summed
/// where those were: `sums` [heads, queries] holds them, and gets those of this shard too.
class ShardEdges {
 public:
  ShardEdges(grape::BiasAction<float> whole, Index first, Index keys, std::vector<double>& sums)
      : whole_(std::move(whole)), first_(first), keys_(keys), sums_(&sums) {}

  Index batch() const { return 1; }
  Index heads() const { return whole_.heads(); }
  Index queries() const { return whole_.queries(); }
  Index keys() const { return keys_; }
  void tile(grape::ScoreTile where, float* out, Index row_stride) const {
    where.key += first_;
    whole_.tile(where, out, row_stride);
  }
  /// Tiles of a run of queries come from the last key to the first.
  void add_tile(grape::ScoreTile where, float* scores, Index row_stride, double* carry) const {
    double* sums = sums_->data() + where.head * queries() + where.query;
    if (where.key + where.keys == keys_) std::copy_n(sums, where.queries, carry);
    where.key += first_;
    whole_.add_tile(where, scores, row_stride, carry);
    if (where.key == first_) std::copy_n(carry, where.queries, sums);
  }

 private:
  grape::BiasAction<float> whole_;
  Index first_, keys_;
  std::vector<double>* sums_;
};

/// GRAPE-AP: an edge asks for the features of a query and of any token before it. They are narrow:
/// every process gathers all of them. The sums of edges go on from shard to shard, backwards.
inline Floats path_integral_attention(const Shards& shards, Tokens mine) {
  std::vector<int> sizes, starts;
  for (int rank = 0; rank < shards.ranks; ++rank) {
    sizes.push_back(static_cast<int>(shards.count(rank) * kHeads * kWidth));
    starts.push_back(static_cast<int>(shards.first(rank) * kHeads * kWidth));
  }
  Floats all(static_cast<std::size_t>(shards.tokens * kHeads * kWidth));
  MPI_Allgatherv(mine.features.data(), static_cast<int>(mine.features.size()), MPI_FLOAT,
                 all.data(), sizes.data(), starts.data(), MPI_FLOAT, MPI_COMM_WORLD);
  const Index count = shards.count(shards.rank);
  const auto edges = grape::PathIntegral<float>(kHeads).at(
      view(all, kWidth), grape::QueryRange{shards.first(shards.rank), count});
  std::vector<double> sums(static_cast<std::size_t>(kHeads * count), 0.0);
  return attention(shards, mine.q, {mine.k, mine.v, mine.gates, {}}, [&](int shard, const Block&) {
    return grape::BiasAction<float>(
        ShardEdges(edges, shards.first(shard), shards.count(shard), sums));
  });
}

}  // namespace ring
