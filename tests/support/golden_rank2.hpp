// SPDX-License-Identifier: Apache-2.0
// The golden family rank2 of both sets in one form.
#pragma once

#include <Eigen/Core>
#include <string>
#include <utility>
#include <vector>

#include "support/golden.hpp"

namespace golden {

inline Eigen::VectorXd vector_of(const std::vector<double>& x) {
  return Eigen::Map<const Eigen::VectorXd>(x.data(), static_cast<Eigen::Index>(x.size()));
}

// y = exp(n omega L(a, b)) x, and where w is given the gradients of <w, y>.
struct Rank2 {
  Eigen::VectorXd a, b, x, y, w{}, da{}, db{}, dx{};
  double omega, n, domega = 0, dn = 0;
  bool gradients = false;
  double reference = 0;  // relative error of the reference's own gradients
};

inline std::vector<std::pair<std::string, Rank2>> rank2_cases() {
  std::vector<std::pair<std::string, Rank2>> out;
  for (const std::string& name : families("rank2")) {
    const Case file = load(name);
    if (file.json().contains("cases")) {
      for (const auto& c : file.json().at("cases")) {
        const auto v = [&c](const char* key) {
          return vector_of(c.at(key).get<std::vector<double>>());
        };
        const auto s = [&c](const char* key) { return c.at(key).get<double>(); };
        Rank2 g{
            .a = v("a"), .b = v("b"), .x = v("x"), .y = v("y"), .omega = s("omega"), .n = s("n")};
        if (c.contains("w")) {
          g.gradients = true;
          g.w = v("w"), g.da = v("grad_a"), g.db = v("grad_b"), g.dx = v("grad_x");
          g.domega = s("grad_omega"), g.dn = s("grad_n");
          g.reference = 2e-10;  // torch.matrix_exp's, as the files' README has it
        }
        out.emplace_back(c.at("name").get<std::string>() + " n=" + std::to_string(g.n), g);
      }
    } else {
      const auto in = [&file](const char* key) { return vector_of(file.inputs(key).data); };
      const auto grad = [&file](const char* key) { return vector_of(file.gradients(key).data); };
      out.emplace_back(name, Rank2{.a = in("a"),
                                   .b = in("b"),
                                   .x = in("x"),
                                   .y = vector_of(file.outputs("y").data),
                                   .w = in("w_y"),
                                   .da = grad("a"),
                                   .db = grad("b"),
                                   .dx = grad("x"),
                                   .omega = in("omega")[0],
                                   .n = in("n")[0],
                                   .domega = grad("omega")[0],
                                   .dn = grad("n")[0],
                                   .gradients = true});
    }
  }
  return out;
}

}  // namespace golden
