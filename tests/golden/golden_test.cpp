// SPDX-License-Identifier: Apache-2.0
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>

namespace {

TEST(Golden, ReadsACase) {
  const golden::Case c = golden::load("rope_interleaved_3");
  EXPECT_EQ(c.dtype(), "float64");
  EXPECT_EQ(c.config<std::string>("pairing"), "interleaved");
  EXPECT_EQ(c.config_or<int>("no such key", 7), 7);
  const golden::Array x = c.inputs("x");
  EXPECT_EQ(x.shape, (std::vector<golden::Index>{1, 4, 1, 10}));
  EXPECT_EQ(x.data.front(), -0.7080995895109724);
  EXPECT_EQ(x.as<float>().front(), -0.7080995895109724F);
}

TEST(Golden, ListsAFamilyOfBothSetsAndNoOther) {
  const std::vector<std::string> names = golden::families("rope_half_split");
  EXPECT_EQ(names.size(), 4U + 15U);
  for (const std::string& name : names) EXPECT_EQ(name.find("authors"), std::string::npos) << name;
  EXPECT_EQ(golden::families("rank2").front(),
            "more/rank2__" + golden::families("rank2").front().substr(12));
}

TEST(Golden, EveryFileIsWellFormed) {
  int arrays = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(GRAPE_GOLDEN_DIR)) {
    if (entry.path().extension() != ".json") continue;
    const auto name = std::filesystem::relative(entry.path(), GRAPE_GOLDEN_DIR).replace_extension();
    const golden::Case c = golden::load(name.string());
    if (!c.json().is_object() || !c.json().contains("inputs")) continue;
    for (const auto& [key, array] : c.json()["inputs"].items()) {
      c.inputs(key);
      ++arrays;
    }
    for (const auto& [key, array] : c.json()["outputs"].items()) {
      c.outputs(key);
      ++arrays;
    }
  }
  EXPECT_GT(arrays, 1000);
}

TEST(Golden, AbsenceIsAnError) {
  EXPECT_THROW(golden::load("no_such_case"), std::runtime_error);
  EXPECT_THROW(golden::families("no_such_family"), std::runtime_error);
  EXPECT_THROW(golden::load("rope_interleaved_3").inputs("y"), std::runtime_error);
  EXPECT_THROW(golden::load("rope_interleaved_3").config<int>("y"), std::runtime_error);
}

}  // namespace
