// SPDX-License-Identifier: Apache-2.0
// Trains one small language model for each position encoding, with the same seed and data, and
// compares them at the training length and beyond it.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "generate.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "text.hpp"
#include "train.hpp"

namespace {

using Scalar = float;

/// Windows of the training length and of 2 and 4 times it.
constexpr lm::Index kStretches[] = {1, 2, 4};
constexpr std::size_t kPromptSize = 80;

/// Some held-out bytes from the start of a line, where there is one.
std::span<const lm::Byte> prompt(const lm::Text& text) {
  const auto held_out = text.held_out();
  const std::size_t size = std::min(kPromptSize, held_out.size());
  const auto last = held_out.end() - static_cast<std::ptrdiff_t>(size);
  const auto line = std::find(held_out.begin(), last, '\n');
  const auto begin = line < last ? line + 1 : held_out.begin();
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

lm::Result train(const lm::Options& options, const std::string& encoding, const lm::Text& text,
                 lm::Progress& progress) {
  lm::ModelShape shape = options.shape;
  shape.encoding = encoding;
  lm::Trainer<Scalar> trainer(shape, options.plan);
  lm::Result result;
  result.encoding = encoding;
  result.parameters = trainer.layout().size();
  progress.begin(encoding);
  double shown = 0;
  for (lm::Index step = 1; step <= options.plan.steps; ++step) {
    result.training.push_back(lm::bits(trainer.step(text.train())));
    shown = step == 1 ? result.training.back() : 0.9 * shown + 0.1 * result.training.back();
    progress.show(step, shown);
  }
  result.tokens_per_second = progress.tokens_per_second(options.plan.steps);
  for (const lm::Index stretch : kStretches) {
    const lm::Index length = stretch * options.plan.length;
    result.lengths.push_back(length);
    result.held_out.push_back(trainer.evaluate(text.held_out(), length, options.held_out_tokens));
    for (double& loss : result.held_out.back()) loss = lm::bits(loss);
  }
  result.sample = lm::generate(trainer.model(), trainer.parameters(), prompt(text), options.sample,
                               options.plan.seed);
  return result;
}

void print_samples(const std::vector<lm::Result>& results, const lm::Text& text) {
  const auto start = prompt(text);
  std::printf("\nContinuations of a place in the held-out text:\n\n%s...\n",
              lm::printable(std::string(start.begin(), start.end())).c_str());
  for (const auto& result : results) {
    std::printf("\n--- %s\n%s\n", result.encoding.c_str(), lm::printable(result.sample).c_str());
  }
}

void run(const lm::Options& options) {
  const auto window =
      static_cast<std::size_t>(kStretches[std::size(kStretches) - 1] * options.plan.length + 1);
  const lm::Text text =
      options.text.empty() ? lm::read_eigen_headers(window) : lm::read_text(options.text, window);
  std::filesystem::create_directories(
      options.out);  // before training, so that an error costs nothing
  const lm::Entropies entropy = lm::entropies(text.held_out());
  std::printf("Text: %s, %zu bytes to train on, %zu held out\n", text.source.c_str(),
              text.train().size(), text.held_out().size());
  const std::string model = std::to_string(options.shape.layers) + " layers, dim " +
                            std::to_string(options.shape.dim) + ", " +
                            std::to_string(options.shape.heads) + " heads";
  const std::string training = std::to_string(options.plan.steps) + " steps of " +
                               std::to_string(options.plan.batch) + " sequences of " +
                               std::to_string(options.plan.length) + " bytes";
  std::printf("Model: %s; %s; %d threads\n\n", model.c_str(), training.c_str(),
              options.plan.threads);
  std::fflush(stdout);

  lm::Progress progress(static_cast<lm::Index>(options.encodings.size()), options.plan.steps,
                        options.plan.batch * options.plan.length);
  std::vector<lm::Result> results;
  for (const auto& encoding : options.encodings) {
    results.push_back(train(options, encoding, text, progress));
  }
  lm::print_table(results, entropy);
  if (options.sample > 0) print_samples(results, text);
  lm::write_curves(options.out, results, entropy, model + "; " + training);
  std::printf("\nCurves: %s/curves.svg, loss.csv, extrapolation.csv\n", options.out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const lm::Options options = lm::parse_options(argc, argv);
    if (options.help) {
      std::fputs(lm::kHelp, stdout);
      return 0;
    }
    run(options);
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "lm: %s\nTry lm --help.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lm: %s\n", error.what());
    return 1;
  }
}
