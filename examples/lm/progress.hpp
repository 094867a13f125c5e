// SPDX-License-Identifier: Apache-2.0
// A progress line: redrawn in place on a terminal, a few plain lines elsewhere.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

#include "parameters.hpp"

namespace lm {

class Progress {
 public:
  /// `models` trainings of `steps` steps, each step over `tokens` tokens.
  Progress(Index models, Index steps, Index tokens)
      : models_(models), steps_(steps), tokens_(tokens), terminal_(isatty(fileno(stdout)) != 0) {}

  void begin(const std::string& name) {
    name_ = name;
    ++model_;
    drawn_ = start_ = Clock::now();
    printed_ = 0;
  }

  /// After `done` steps of the current model.
  void show(Index done, double bits) {
    const auto now = Clock::now();
    seconds_ = std::chrono::duration<double>(now - start_).count();
    const bool last = done == steps_;
    if (terminal_) {
      const auto pause = std::chrono::duration<double>(now - drawn_).count();
      if (!last && pause < kRedrawSeconds) return;
      drawn_ = now;
    } else {
      const Index due = done * kPlainLines / steps_;
      if (due == printed_) return;
      printed_ = due;
    }
    const double rate = static_cast<double>(done) / seconds_;
    const Index later = (models_ - model_) * steps_;
    const auto left = std::lround(static_cast<double>(steps_ - done + later) / rate);
    const auto filled = static_cast<std::size_t>(done * kBarWidth / steps_);
    const std::string bar =
        std::string(filled, '=') + std::string(static_cast<std::size_t>(kBarWidth) - filled, ' ');
    char line[256];
    std::snprintf(line, sizeof line,
                  "[%ld/%ld] %-6s [%s] %ld/%ld  loss %.3f bits  %.1fk tokens/s  %ld:%02ld left",
                  static_cast<long>(model_), static_cast<long>(models_), name_.c_str(), bar.c_str(),
                  static_cast<long>(done), static_cast<long>(steps_), bits,
                  tokens_per_second(done) / 1000, left / 60, left % 60);
    if (terminal_) {  // a line that wraps could not be drawn over
      std::printf("\r%.*s\033[K%s", columns() - 1, line, last ? "\n" : "");
    } else {
      std::printf("%s\n", line);
    }
    std::fflush(stdout);
  }

  double tokens_per_second(Index done) const {
    return static_cast<double>(done * tokens_) / std::max(seconds_, 1e-9);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double kRedrawSeconds = 0.1;
  static constexpr Index kPlainLines = 4, kBarWidth = 10;

  static int columns() {
    constexpr int kUsual = 80;
    winsize size{};
    const bool known = ioctl(fileno(stdout), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : kUsual;
  }

  Index models_, steps_, tokens_;
  bool terminal_;
  std::string name_;
  Index model_ = 0, printed_ = 0;
  Clock::time_point start_, drawn_;
  double seconds_ = 0;
};

}  // namespace lm
