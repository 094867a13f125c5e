// SPDX-License-Identifier: Apache-2.0
// Attention over a sequence in shards of different sizes, with rotations and biases that reach over
// all of them, against the same in one process.
//
//   mpirun -np 4 context_parallel [TOKENS]

#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <grape/grape.hpp>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "context_parallel/ring.hpp"
#include "lm/parameters.hpp"  // NormalSource

namespace {

using namespace ring;

Tokens random_tokens(Index tokens) {
  lm::NormalSource normal(1);
  Tokens all;
  for (Floats* x : {&all.q, &all.k, &all.v, &all.features}) {
    x->resize(static_cast<std::size_t>(tokens * kHeads * (x == &all.features ? kWidth : kDim)));
    for (float& value : *x) value = static_cast<float>(normal());
  }
  all.gates.resize(static_cast<std::size_t>(tokens * kHeads));
  for (double& gate : all.gates) gate = grape::log_sigmoid(3 + normal());
  return all;
}

Tokens part(const Tokens& all, Index first, Index count) {
  const auto cut = [&](const auto& x, Index width) {
    const auto begin = x.begin() + first * kHeads * width;
    return std::decay_t<decltype(x)>(begin, begin + count * kHeads * width);
  };
  return {cut(all.q, kDim), cut(all.k, kDim), cut(all.v, kDim), cut(all.features, kWidth),
          cut(all.gates, 1)};
}

/// Whether this process's rows are those of the whole to rounding, everywhere; rank 0 prints it.
bool agree(const char* name, const Shards& shards, const Floats& mine, Tokens all,
           const grape::AttendOptions<float>& options) {
  Floats whole(all.q.size());
  grape::attend(view(all.q), view(all.k), view(all.v), view(whole), options);
  float difference = 0, most = 0;
  const float* rows = whole.data() + shards.first(shards.rank) * kHeads * kDim;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const float here = std::abs(mine[i] - rows[i]);
    difference = std::max(difference, std::isnan(here) ? HUGE_VALF : here);
  }
  MPI_Allreduce(&difference, &most, 1, MPI_FLOAT, MPI_MAX, MPI_COMM_WORLD);
  // Values are of order 1; logits and their exponentials have some tens of roundings.
  const bool right = most <= 100 * std::numeric_limits<float>::epsilon();
  if (shards.rank == 0) std::printf("  %-10s %.1e%s\n", name, most, right ? "" : "  TOO LARGE");
  return right;
}

bool run(Index tokens) {
  if (tokens < 1) throw std::invalid_argument("wanted a number of tokens >= 1");
  Shards shards{tokens};
  MPI_Comm_rank(MPI_COMM_WORLD, &shards.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &shards.ranks);
  if (shards.rank == 0) {
    std::printf("%ld tokens on %d processes, from %ld to %ld each; largest difference from one:\n",
                static_cast<long>(tokens), shards.ranks, static_cast<long>(shards.count(0)),
                static_cast<long>(shards.count(shards.ranks - 1)));
  }
  // Only what is this process's own goes into the ring; the rest is for the comparison.
  Tokens all = random_tokens(tokens);
  const Tokens mine = part(all, shards.first(shards.rank), shards.count(shards.rank));
  const auto turn = rope().at(grape::Positions::range(0, tokens));
  const auto decay = grape::FoX<float>(kHeads).at(grape::blh(all.gates.data(), 1, tokens, kHeads));
  const auto edges = grape::PathIntegral<float>(kHeads).at(view(all.features, kWidth));
  const bool right[] = {
      agree("RoPE", shards, rope_attention(shards, mine), all, {.rotation = &turn, .causal = true}),
      agree("FoX", shards, fox_attention(shards, mine), all, {.bias = &decay, .causal = true}),
      agree("GRAPE-AP", shards, path_integral_attention(shards, mine), all,
            {.bias = &edges, .causal = true})};
  return std::ranges::count(right, false) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  try {
    const bool right = run(argc > 1 ? std::atol(argv[1]) : 1003);
    MPI_Finalize();
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "context_parallel: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}
