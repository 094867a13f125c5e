// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "position_encoding.hpp"
#include "train.hpp"

namespace lm {

struct Options {
  ModelShape shape;
  TrainingPlan plan;
  std::vector<std::string> encodings{"none", "rope", "alibi"};
  std::string text;  // empty: the Eigen headers
  std::string out = "lm_out";
  Index sample = 160;
  Index held_out_tokens = 98304;
  bool help = false;
};

inline constexpr const char* kHelp =
    R"(lm: a small transformer over bytes, trained once for each position encoding

  --encoding NAMES   none, rope, grape_m, grape_m_ctx, grape_m_frame, grape_m_compact,
                     alibi, fox, grape_a_q, grape_a_k, grape_a_qk, grape_ap, kvshift, or
                     parts joined by '+'; several separated by commas (default
                     none,rope,alibi)
  --text FILE        what to learn (default: the Eigen headers; at most the first 4 MiB)
  --out DIR          where curves.svg, loss.csv and extrapolation.csv go (default lm_out)
  --steps N          training steps (default 800)
  --seq N            bytes in a training sequence (default 128)
  --batch N          sequences in a step (default 12)
  --layers N --dim N --heads N
                     the model (default 3, 96, 4)
  --lr X             peak learning rate (default 0.006)
  --seed N           of parameters, data order and sample (default 1)
  --threads N        the result does not depend on it (default 2)
  --sample N         bytes of text to generate (default 160)
  --smoke            a tiny model for a few seconds, to see that everything runs; also with
                     GRAPE_SMOKE=1 in the environment
  --help
)";

namespace detail {

template <class Number>
Number parse(std::string_view option, std::string_view value, Number least, Number most) {
  const std::string text(value);
  Number number{};
  bool whole = false;
  if constexpr (std::is_floating_point_v<Number>) {  // not every library has from_chars for these
    char* end = nullptr;
    number = std::strtod(text.c_str(), &end);
    whole = !text.empty() && *end == '\0';
  } else {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    whole = error == std::errc() && end == value.data() + value.size();
  }
  if (!whole || !(number >= least && number <= most)) {
    const std::string kind = std::is_integral_v<Number> ? "a whole number" : "a number";
    throw std::invalid_argument(std::string(option) + " got '" + text + "', wanted " + kind +
                                " from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

inline std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> names;
  for (;;) {
    const std::size_t comma = list.find(',');
    names.emplace_back(list.substr(0, comma));
    split_encoding(names.back());
    if (comma == std::string_view::npos) return names;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace detail

/// Throws std::invalid_argument.
inline Options parse_options(int argc, char** argv) {
  Options options;
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  const char* variable = std::getenv("GRAPE_SMOKE");
  bool smoke = variable != nullptr && *variable != '\0' && std::strcmp(variable, "0") != 0;
  for (const auto& argument : arguments) smoke = smoke || argument == "--smoke";
  if (smoke) {  // first, so that other options still count
    options.shape.dim = 32;
    options.shape.layers = 2;
    options.plan.steps = 120;
    options.plan.rate = 2e-2;
    options.plan.length = 64;
    options.sample = 80;
    options.held_out_tokens = 4096;
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    if (name == "--smoke") continue;
    if (name == "--help" || name == "-h") {
      options.help = true;
      return options;
    }
    const auto value = [&] {
      if (i + 1 == arguments.size()) {
        throw std::invalid_argument(std::string(name) + " needs a value");
      }
      return arguments[++i];
    };
    const auto count = [&](Index least, Index most = 1 << 20) {
      return detail::parse<Index>(name, value(), least, most);
    };
    if (name == "--encoding") {
      options.encodings = detail::split_list(value());
    } else if (name == "--text") {
      options.text = value();
      if (options.text.empty()) throw std::invalid_argument("--text got an empty file name");
    } else if (name == "--out") {
      options.out = value();
      if (options.out.empty()) throw std::invalid_argument("--out got an empty name");
    } else if (name == "--steps") {
      options.plan.steps = count(1);
    } else if (name == "--seq") {
      options.plan.length = count(2, 1 << 14);
    } else if (name == "--batch") {
      options.plan.batch = count(1, 1 << 12);
    } else if (name == "--layers") {
      options.shape.layers = count(1, 1 << 8);
    } else if (name == "--dim") {
      options.shape.dim = count(2, 1 << 14);
    } else if (name == "--heads") {
      options.shape.heads = count(1, 1 << 8);
    } else if (name == "--lr") {
      options.plan.rate = detail::parse<double>(name, value(), 0.0, 1.0);
    } else if (name == "--seed") {
      options.plan.seed = detail::parse<std::uint64_t>(name, value(), 0, ~std::uint64_t{0});
    } else if (name == "--threads") {
      options.plan.threads = static_cast<int>(count(1, 1 << 8));
    } else if (name == "--sample") {
      options.sample = count(0);
    } else {
      throw std::invalid_argument("unknown option '" + std::string(name) + "'");
    }
  }
  if (options.shape.dim % (2 * options.shape.heads) != 0) {
    throw std::invalid_argument("--dim " + std::to_string(options.shape.dim) +
                                " must be a multiple of twice --heads " +
                                std::to_string(options.shape.heads));
  }
  return options;
}

}  // namespace lm
