// SPDX-License-Identifier: Apache-2.0
// The text: bytes of a file or of the Eigen headers, a held-out part, and what a model that only
// counts bytes could reach on it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model.hpp"

namespace lm {

struct Text {
  std::string source;
  std::vector<Byte> bytes;
  std::size_t train_size = 0;  // the rest is held out

  std::span<const Byte> train() const { return std::span(bytes).first(train_size); }
  std::span<const Byte> held_out() const { return std::span(bytes).subspan(train_size); }
};

namespace detail {

inline constexpr std::size_t kMaxTextSize = std::size_t{4} << 20;

inline void append_file(const std::filesystem::path& path, std::vector<Byte>& bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open the text '" + path.string() + "'");
  bytes.insert(bytes.end(), std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  if (file.bad()) throw std::runtime_error("cannot read the text '" + path.string() + "'");
}

/// FNV-1a.
inline std::uint64_t hash(const std::string& text) {
  std::uint64_t value = 14695981039346656037u;
  for (const char c : text) value = (value ^ static_cast<Byte>(c)) * 1099511628211u;
  return value;
}

/// The directory that holds Eigen/Core.
inline std::filesystem::path eigen_directory() {
  std::vector<std::filesystem::path> candidates;
#ifdef GRAPE_EIGEN_DIR
  candidates.emplace_back(GRAPE_EIGEN_DIR);
#endif
  for (const char* prefix : {"/usr/include", "/usr/local/include", "/opt/homebrew/include"}) {
    candidates.push_back(std::filesystem::path(prefix) / "eigen3");
    candidates.emplace_back(prefix);
  }
  for (const auto& candidate : candidates) {
    if (std::filesystem::is_regular_file(candidate / "Eigen" / "Core")) return candidate;
  }
  throw std::runtime_error("the Eigen headers, the default text, are not at '" +
                           candidates.front().string() + "': pass another text with --text FILE");
}

}  // namespace detail

/// Splits off the last tenth. Throws where that leaves fewer than `window` bytes to either part.
inline Text split(std::string source, std::vector<Byte> bytes, std::size_t window) {
  if (bytes.empty()) throw std::runtime_error("the text '" + source + "' is empty");
  constexpr std::size_t kHeldOutShare = 10;
  Text text{std::move(source), std::move(bytes), 0};
  text.train_size = text.bytes.size() - text.bytes.size() / kHeldOutShare;
  if (text.held_out().size() < window) {
    throw std::runtime_error("the text '" + text.source + "' is too short: it has " +
                             std::to_string(text.bytes.size()) + " bytes, and a tenth of it, " +
                             "held out, must fill a window of " + std::to_string(window));
  }
  return text;
}

inline Text read_text(const std::string& path, std::size_t window) {
  if (std::filesystem::is_directory(path)) {
    throw std::runtime_error("the text '" + path + "' is a directory, wanted a file");
  }
  std::vector<Byte> bytes;
  detail::append_file(path, bytes);
  if (bytes.size() > detail::kMaxTextSize) bytes.resize(detail::kMaxTextSize);
  return split(path, std::move(bytes), window);
}

/// The Eigen headers in an order that depends on their names alone and mixes the modules, so that
/// the held-out part is of the same kind as the rest.
inline Text read_eigen_headers(std::size_t window) {
  namespace fs = std::filesystem;
  const fs::path root = detail::eigen_directory();
  std::vector<std::pair<std::uint64_t, fs::path>> files;
  for (const auto& entry : fs::recursive_directory_iterator(root / "Eigen")) {
    if (!entry.is_regular_file()) continue;
    files.emplace_back(detail::hash(entry.path().lexically_relative(root).generic_string()),
                       entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Byte> bytes;
  for (const auto& [hash, path] : files) {
    if (bytes.size() >= detail::kMaxTextSize) break;
    detail::append_file(path, bytes);
  }
  if (bytes.size() > detail::kMaxTextSize) bytes.resize(detail::kMaxTextSize);
  return split((root / "Eigen").string(), std::move(bytes), window);
}

/// Entropies of the text itself in bits per byte: no model that looks at no byte before (unigram),
/// or at one (bigram), can have a lower loss on it.
struct Entropies {
  double unigram = 0;
  double bigram = 0;
};

inline Entropies entropies(std::span<const Byte> text) {
  const std::size_t kinds = static_cast<std::size_t>(kBytes);
  std::vector<double> pairs(kinds * kinds, 0.0), first(kinds, 0.0), second(kinds, 0.0);
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    ++pairs[text[i] * kinds + text[i + 1]];
    ++first[text[i]];
    ++second[text[i + 1]];
  }
  const double total = static_cast<double>(text.size() - 1);
  const auto entropy = [total](const std::vector<double>& counts) {
    double sum = 0;
    for (const double n : counts) {
      if (n > 0) sum -= n / total * std::log2(n / total);
    }
    return sum;
  };
  return {entropy(second), entropy(pairs) - entropy(first)};
}

}  // namespace lm
