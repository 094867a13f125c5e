// SPDX-License-Identifier: Apache-2.0
// What a person gives the example: a text, names, a command line.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "examples/lm/options.hpp"
#include "examples/lm/text.hpp"

namespace lm {
namespace {

/// What the call throws, or "" if nothing.
template <class Call>
std::string message(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

void expect_message(const std::string& got, const std::string& wanted) {
  EXPECT_NE(got.find(wanted), std::string::npos)
      << "got '" << got << "', wanted '" << wanted << "'";
}

Options parse(std::vector<std::string> words) {
  words.insert(words.begin(), "lm");
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  return parse_options(static_cast<int>(pointers.size()), pointers.data());
}

std::vector<Byte> bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(Options, AreRead) {
  const Options options = parse({"--encoding", "rope+alibi,none", "--steps", "7", "--lr", "1e-2",
                                 "--seed", "18446744073709551615", "--heads", "2", "--dim", "12"});
  EXPECT_EQ(options.encodings, (std::vector<std::string>{"rope+alibi", "none"}));
  EXPECT_EQ(options.plan.steps, 7);
  EXPECT_EQ(options.plan.rate, 1e-2);
  EXPECT_EQ(options.plan.seed, ~std::uint64_t{0});
  EXPECT_EQ(options.shape.head_dim(), 6);
  EXPECT_TRUE(parse({"--help"}).help);
  EXPECT_LT(parse({"--smoke"}).plan.steps, Options().plan.steps);
  EXPECT_EQ(parse({"--steps", "9", "--smoke"}).plan.steps, 9);
}

TEST(Options, SayWhatIsWrong) {
  const auto wrong = [](std::vector<std::string> words) { return message([&] { parse(words); }); };
  expect_message(wrong({"--stps", "5"}), "unknown option '--stps'");
  expect_message(wrong({"--steps"}), "--steps needs a value");
  expect_message(wrong({"--steps", "0"}), "--steps got '0', wanted a whole number from 1");
  expect_message(wrong({"--steps", "5x"}), "--steps got '5x'");
  expect_message(wrong({"--steps", "99999999999999999999"}), "--steps got '99999999999999999999'");
  expect_message(wrong({"--lr", "nan"}), "--lr got 'nan', wanted a number");
  expect_message(wrong({"--lr", ""}), "--lr got ''");
  expect_message(wrong({"--dim", "30", "--heads", "4"}), "--dim 30 must be a multiple of twice");
  expect_message(wrong({"--encoding", "rop"}), "unknown position encoding 'rop'");
  expect_message(wrong({"--encoding", "rop"}), "none, kvshift, grape_a_q");
  expect_message(wrong({"--encoding", "rope,"}), "unknown position encoding ''");
  expect_message(wrong({"--encoding", "rope+rope"}), "parts must differ");
  expect_message(wrong({"--encoding", "none+rope"}), "'none' stands alone");
}

TEST(Text, IsSplit) {
  const Text text = split("here", bytes("0123456789abcdefghij"), 2);
  EXPECT_EQ(text.train().size(), 18u);
  EXPECT_EQ(text.held_out().front(), 'i');
  expect_message(message([] { split("here", {}, 1); }), "'here' is empty");
  expect_message(message([] { split("here", bytes("0123456789"), 2); }), "'here' is too short");
}

TEST(Text, IsReadFromAFile) {
  const auto path = std::filesystem::path(testing::TempDir()) / "grape_lm_text.txt";
  std::string written(44, 'x');
  written.replace(41, 3, "\xff\r\n");
  written[40] = '\0';
  std::ofstream(path, std::ios::binary) << written;
  const Text text = read_text(path.string(), 2);
  EXPECT_EQ(text.bytes.size(), 44u);
  EXPECT_EQ(text.bytes[41], 0xff);
  std::ofstream(path, std::ios::trunc).close();
  expect_message(message([&] { read_text(path.string(), 2); }), "is empty");
  std::filesystem::remove(path);
  expect_message(message([&] { read_text(path.string(), 2); }), "cannot open");
  expect_message(message([] { read_text(testing::TempDir(), 2); }), "is a directory");
}

TEST(Text, DefaultsToTheEigenHeaders) {
  const Text text = read_eigen_headers(513);
  EXPECT_GT(text.train().size(), std::size_t{1} << 20);
  EXPECT_EQ(text.bytes, read_eigen_headers(513).bytes);
}

TEST(Text, HasTheEntropiesOfItsCounts) {
  const Entropies alternating =
      entropies(bytes("abababababababababababababababab"
                      "a"));
  EXPECT_NEAR(alternating.unigram, 1, 1e-12);
  EXPECT_NEAR(alternating.bigram, 0, 1e-12);
  // Pairs aa, ab, bb, ba once each: nothing to learn from the byte before.
  const Entropies independent = entropies(bytes("aabba"));
  EXPECT_NEAR(independent.unigram, 1, 1e-12);
  EXPECT_NEAR(independent.bigram, 1, 1e-12);
}

}  // namespace
}  // namespace lm
