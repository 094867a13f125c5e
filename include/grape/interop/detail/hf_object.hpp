// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// A JSON object whose fields are asked for by name and type; null is absent.
class HfObject {
 public:
  using Json = nlohmann::json;

  HfObject(const Json& json, std::string name) : json_(&json), name_(std::move(name)) {
    if (!json.is_object()) fail(name_, kind(json), "a JSON object");
  }

  const Json* find(const std::string& key) const {
    const auto at = json_->find(key);
    return at == json_->end() || at->is_null() ? nullptr : &*at;
  }
  std::optional<double> number(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) return std::nullopt;
    if (!x->is_number()) fail(path(key), kind(*x), "a number");
    return x->get<double>();
  }
  std::optional<Index> integer(const std::string& key) const {
    const std::optional<double> x = number(key);
    if (!x) return std::nullopt;
    return whole(key, *x);
  }
  std::optional<std::string> string(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) return std::nullopt;
    if (!x->is_string()) fail(path(key), kind(*x), "a string");
    return x->get<std::string>();
  }
  bool boolean(const std::string& key, bool otherwise) const {
    const Json* x = find(key);
    if (x == nullptr) return otherwise;
    if (!x->is_boolean()) fail(path(key), kind(*x), "true or false");
    return x->get<bool>();
  }
  std::vector<double> numbers(const std::string& key) const {
    const Json* x = find(key);
    if (x == nullptr) fail(path(key), "nothing", "a list of numbers");
    if (!x->is_array()) fail(path(key), kind(*x), "a list of numbers");
    std::vector<double> out;
    for (const Json& entry : *x) {
      if (!entry.is_number()) fail(path(key), kind(entry), "numbers alone");
      out.push_back(entry.get<double>());
    }
    return out;
  }
  std::vector<Index> integers(const std::string& key) const {
    std::vector<Index> out;
    for (const double x : numbers(key)) out.push_back(whole(key, x));
    return out;
  }
  double needed_number(const std::string& key) const {
    const std::optional<double> x = number(key);
    if (!x) fail(path(key), "nothing", "a number");
    return *x;
  }

  /// Throws unless every key is one of these.
  void check_keys(const std::string& type, std::initializer_list<std::string_view> known) const {
    constexpr std::string_view kCommon[] = {"rope_type",     "type",
                                            "rope_theta",    "partial_rotary_factor",
                                            "mrope_section", "mrope_interleaved"};
    for (const auto& [key, value] : json_->items()) {
      const auto is_key = [&, &k = key](std::string_view s) { return s == k; };
      if (std::any_of(std::begin(kCommon), std::end(kCommon), is_key)) continue;
      if (std::any_of(known.begin(), known.end(), is_key)) continue;
      fail(path(key), "a key that grape does not know",
           text("keys that mean something for rope_type \"", type, "\""));
    }
  }

  bool empty() const { return json_->empty(); }
  const Json& json() const { return *json_; }
  const std::string& name() const { return name_; }
  std::string path(const std::string& key) const { return name_ + "." + key; }

  static std::string kind(const Json& x) {
    return text("a JSON ", x.type_name(), " (", x.dump().substr(0, 60), ")");
  }

 private:
  Index whole(const std::string& key, double x) const {
    if (!(x >= -0x1p53 && x <= 0x1p53) || std::floor(x) != x) {
      fail(path(key), text(x), "a whole number");
    }
    return static_cast<Index>(x);
  }

  const Json* json_;
  std::string name_;
};

/// One number that may stand in either of two objects; where it stands in both they must agree.
template <class Get>
auto hf_agreed(const HfObject& a, const HfObject* b, const std::string& key, Get&& get) {
  auto x = get(a, key);
  if (b == nullptr) return x;
  const auto y = get(*b, key);
  if (x && y && *x != *y) {
    fail(b->path(key), text(*y), text("the same as ", a.path(key), " = ", *x));
  }
  return x ? x : y;
}
inline constexpr auto kHfNumber = [](const HfObject& o, const std::string& k) {
  return o.number(k);
};
inline constexpr auto kHfInteger = [](const HfObject& o, const std::string& k) {
  return o.integer(k);
};

}  // namespace detail
}  // namespace grape::inline v0
