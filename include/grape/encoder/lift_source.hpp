// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_source.hpp"

namespace grape::inline v0 {

/// Whose factors are asked for.
enum class LiftSide { query, key };

/// What a factor of a liftable bias is, which decides how it is stored in narrow types.
enum class LiftFactor {
  one,   ///< 1, for every token
  head,  ///< one number a parameter head (LiftSource::lift_slope)
  gate,  ///< a number of the token that does not grow along the sequence
  path,  ///< a number that does: a position, a sum of log gates, or a product with one
};

/// One product f(i) g(j) of a bias. One of the two factors is a `path`, no `head` is a key's.
struct LiftTerm {
  LiftFactor query;  ///< f, of the query
  LiftFactor key;    ///< g, of the key
};

/// All tokens of one side, batch entry and parameter head (of keys: of lift_key_heads()). `centred`
/// measures paths from the middle of the keys', so that they are half as large.
struct LiftSlice {
  LiftSide side;
  Index batch;
  Index head;
  bool centred;
};

/// A bias that is a sum of products where its group element acts, key not after query (sections 4.1
/// to 4.7: the dot product of [q; f] and [k; g] is the lifted score):
///
///   b_h(i, j) = sum over terms r of f_r(i) g_r(j).
///
/// What a BiasSource derives from to be liftable.
class LiftSource {
 public:
  virtual ~LiftSource() = default;

  /// Throws ArgumentError where the bias holds what no such product can say.
  virtual std::vector<LiftTerm> lift_terms() const = 0;
  /// Parameter heads between which keys' factors differ, a divisor of the bias's heads; where it is
  /// 1, keys of any number of heads can be lifted.
  virtual Index lift_key_heads() const = 0;
  /// The factor of kind `head`.
  virtual double lift_slope(Index term, Index head) const = 0;
  /// Writes out[token, term], the factors of all queries or all keys.
  virtual void lift_factors(const LiftSlice& where, double* out) const = 0;
  /// Accumulates gradients, as BiasSource::tile_vjp does, from d[token, term], the gradient of the
  /// factors.
  virtual void lift_factors_vjp(const LiftSlice& where, const double* d,
                                const BiasGradients& gradients) const = 0;

 protected:
  LiftSource() = default;
  LiftSource(const LiftSource&) = default;
  LiftSource(LiftSource&&) = default;
  LiftSource& operator=(const LiftSource&) = default;
  LiftSource& operator=(LiftSource&&) = default;
};

}  // namespace grape::inline v0
