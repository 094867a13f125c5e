// SPDX-License-Identifier: Apache-2.0
// Reader of the golden numbers in tests/golden (their README says where they come from).
//
//   for (const std::string& name : golden::families("rope_interleaved")) {
//     SCOPED_TRACE(name);
//     const golden::Case c = golden::load(name);
//     std::vector<float> x = c.inputs("x").as<float>();
//     const double base = c.config<double>("base");
//     ...
//   }
//
// Whatever is absent or malformed throws std::runtime_error that names the file, so that a test
// never passes for want of numbers.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace golden {

using Index = std::ptrdiff_t;

// A row-major array; shape [] is a scalar, with one number.
struct Array {
  std::vector<Index> shape;
  std::vector<double> data;

  // The numbers converted to T, each rounded once.
  template <class T>
  std::vector<T> as() const {
    std::vector<T> out;
    out.reserve(data.size());
    for (const double x : data) out.push_back(static_cast<T>(x));
    return out;
  }
};

class Case {
 public:
  Case(std::string name, nlohmann::json json) : name_(std::move(name)), json_(std::move(json)) {}

  const std::string& name() const { return name_; }
  // "float64", "float32", ...: the type in which the reference computed.
  std::string dtype() const;

  Array inputs(const std::string& key) const { return array("inputs", key); }
  Array outputs(const std::string& key) const { return array("outputs", key); }
  Array gradients(const std::string& key) const { return array("gradients", key); }
  bool has_input(const std::string& key) const { return has("inputs", key); }
  bool has_output(const std::string& key) const { return has("outputs", key); }
  bool has_gradient(const std::string& key) const { return has("gradients", key); }
  bool has_config(const std::string& key) const { return has("config", key); }

  template <class T>
  T config(const std::string& key) const {
    return at("config", key).get<T>();
  }
  template <class T>
  T config_or(const std::string& key, T otherwise) const {
    return has_config(key) ? config<T>(key) : otherwise;
  }

  // The whole file, for families without this frame (`cases`, `slopes`).
  const nlohmann::json& json() const { return json_; }

 private:
  bool has(const std::string& section, const std::string& key) const;
  const nlohmann::json& at(const std::string& section, const std::string& key) const;
  Array array(const std::string& section, const std::string& key) const;

  std::string name_;
  nlohmann::json json_;
};

// The case of that name: "rope_interleaved_0", "more/rope_interleaved__...".
Case load(const std::string& name);

// The names of every case of a family in both sets, sorted: <family>, <family>_<number> and
// more/<family>__*. Never empty.
std::vector<std::string> families(const std::string& family);

}  // namespace golden
