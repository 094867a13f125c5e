// SPDX-License-Identifier: Apache-2.0
// Trains the model of examples/lm for a moment and lets it write far beyond its window, with keys
// and values in a cache that slides: what that gains over computing the prefix again for each byte,
// and that it changes nothing.
//
//   streaming_decode [ENCODING]     by the names of `lm --help`; default rope+fox

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "lm/generate.hpp"
#include "lm/text.hpp"
#include "lm/train.hpp"

namespace {

using Scalar = float;

struct Plan {
  lm::Index window = 128;  // of keys that a token sees
  lm::Index bytes = 1024;  // to write
  lm::Index steps = 150;   // of training
};

/// Seconds that a call takes.
template <class Call>
double seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

lm::Trainer<Scalar> trained(const lm::ModelShape& shape, const lm::Text& text, const Plan& plan) {
  lm::Trainer<Scalar> trainer(shape, {.steps = plan.steps});
  double loss = 0;
  for (lm::Index step = 0; step < plan.steps; ++step) loss = trainer.step(text.train());
  std::printf("Trained for %ld steps: %.2f bits per byte\n", static_cast<long>(plan.steps),
              loss / std::numbers::ln2);
  return trainer;
}

/// Writes plan.bytes bytes behind the prompt; returns whether every check holds.
bool stream(const std::string& encoding, const Plan& plan) {
  const lm::ModelShape shape{.encoding = encoding, .window = plan.window};
  const lm::Text text = lm::read_eigen_headers(static_cast<std::size_t>(plan.window));
  lm::Trainer<Scalar> trainer = trained(shape, text, plan);
  const lm::Vector<Scalar>& parameters = trainer.parameters();
  lm::Model<Scalar>& cached = trainer.model();
  lm::Model<Scalar> afresh(shape);

  // A layer sees window - 1 tokens beyond those of the layer below, and a key/value shift one more.
  // The probes of GRAPE-AP turn with absolute positions: for it, all bytes matter.
  const bool relative = encoding.find("grape_ap") == std::string::npos;
  const lm::Index reach = relative ? shape.layers * plan.window + 1 : plan.window + plan.bytes;
  lm::NormalSource random(1);
  const auto prompt = text.held_out().first(static_cast<std::size_t>(plan.window / 2));
  std::vector<lm::Byte> bytes(prompt.begin(), prompt.end());
  std::span<const lm::Byte> next = bytes;
  const lm::Index checks = 8, pause = plan.bytes / checks;
  double by_cache = 0;
  bool right = true;

  std::printf("\n%s, a window of %ld bytes:\n\n", encoding.c_str(), static_cast<long>(plan.window));
  std::printf("   bytes    with the cache   prefix again   last %4ld again   largest difference\n",
              static_cast<long>(reach));
  for (lm::Index written = 1; written <= plan.bytes; ++written) {
    const auto position = static_cast<lm::Index>(bytes.size() - next.size());
    lm::Matrix<Scalar> logits;
    by_cache += seconds([&] { logits = cached.decode(parameters, next, position).bottomRows(1); });
    if (written % pause == 0) {
      // The same from nothing: with all bytes so far, then with those that can matter alone, whose
      // positions begin at 0 again.
      const std::span<const lm::Byte> all = bytes;
      const auto last = all.last(std::min(all.size(), static_cast<std::size_t>(reach)));
      Scalar difference = 0, scale = logits.cwiseAbs().maxCoeff();
      const auto again = [&](std::span<const lm::Byte> prefix) {
        return seconds([&] {
          const auto other = afresh.decode(parameters, prefix, 0).bottomRows(1);
          difference = std::max(difference, (other - logits).cwiseAbs().maxCoeff());
        });
      };
      const double whole = again(all), recent = again(last);
      std::printf("%8ld  %9.0f bytes/s %6.0f bytes/s  %9.0f bytes/s   %.1e\n",
                  static_cast<long>(bytes.size()), static_cast<double>(pause) / by_cache, 1 / whole,
                  1 / recent, static_cast<double>(difference));
      // Some thousand roundings on the way to a logit, each of a part of it.
      right = right && difference <= 1e3f * std::numeric_limits<Scalar>::epsilon() * scale;
      by_cache = 0;
    }
    bytes.push_back(lm::pick(logits.row(0), 0.6, random));
    next = std::span<const lm::Byte>(bytes).last(1);
  }
  const lm::Index shown = std::min<lm::Index>(160, plan.bytes);
  std::printf("\n%s\n", lm::printable({bytes.end() - shown, bytes.end()}).c_str());
  std::printf("\nThe cache and the computation from nothing %s.\n", right ? "agree" : "DIFFER");
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Plan plan;
    if (std::getenv("GRAPE_SMOKE") != nullptr) plan = {24, 128, 10};
    return stream(argc > 1 ? argv[1] : "rope+fox", plan) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "streaming_decode: %s\n", error.what());
    return 1;
  }
}
