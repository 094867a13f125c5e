// SPDX-License-Identifier: Apache-2.0
#include "support/golden.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace golden {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("golden: " + what); }

bool is_case_of(const std::string& stem, const std::string& family) {
  if (stem == family) return true;
  if (!stem.starts_with(family + "_")) return false;
  const std::string number = stem.substr(family.size() + 1);
  return !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

std::string Case::dtype() const {
  if (!json_.contains("dtype")) fail(name_ + " has no dtype");
  return json_["dtype"].get<std::string>();
}

bool Case::has(const std::string& section, const std::string& key) const {
  return json_.is_object() && json_.contains(section) && json_[section].contains(key);
}

const nlohmann::json& Case::at(const std::string& section, const std::string& key) const {
  if (!has(section, key)) fail(name_ + " has no " + section + "/" + key);
  return json_[section][key];
}

Array Case::array(const std::string& section, const std::string& key) const {
  const nlohmann::json& json = at(section, key);
  Array out{json.at("shape").get<std::vector<Index>>(), json.at("data").get<std::vector<double>>()};
  Index count = 1;
  for (const Index extent : out.shape) count *= extent;
  if (count != static_cast<Index>(out.data.size())) {
    fail(name_ + " " + section + "/" + key + ": the shape holds " + std::to_string(count) +
         " numbers, the data " + std::to_string(out.data.size()));
  }
  return out;
}

Case load(const std::string& name) {
  const fs::path path = fs::path(GRAPE_GOLDEN_DIR) / (name + ".json");
  std::ifstream file(path);
  if (!file) fail("cannot open " + path.string());
  try {
    return Case(name, nlohmann::json::parse(file));
  } catch (const nlohmann::json::exception& e) {
    fail(path.string() + ": " + e.what());
  }
}

std::vector<std::string> families(const std::string& family) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(GRAPE_GOLDEN_DIR)) {
    const std::string stem = entry.path().stem().string();
    if (entry.path().extension() == ".json" && is_case_of(stem, family)) names.push_back(stem);
  }
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(GRAPE_GOLDEN_DIR) / "more")) {
    const std::string stem = entry.path().stem().string();
    if (stem.starts_with(family + "__")) names.push_back("more/" + stem);
  }
  if (names.empty()) fail("no case of the family " + family + " in " GRAPE_GOLDEN_DIR);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace golden
