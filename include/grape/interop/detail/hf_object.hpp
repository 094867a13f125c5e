// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
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

/// Someone else's text for a message: escaped, invalid UTF-8 replaced, in quotes, and no longer
/// than a line.
inline std::string hf_quoted(std::string_view raw) {
  constexpr std::size_t kMost = 60;
  std::size_t end = (std::min)(raw.size(), kMost);
  if (end < raw.size()) {  // before a character that would be cut
    while (end > kMost - 4 && (static_cast<unsigned char>(raw[end]) & 0xC0U) == 0x80U) --end;
  }
  const std::string out = nlohmann::json(raw.substr(0, end))
                              .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return end < raw.size() ? out.substr(0, out.size() - 1) + "..\"" : out;
}
/// The same without the quotes, for a key.
inline std::string hf_shown(std::string_view raw) {
  const std::string out = hf_quoted(raw);
  return out.substr(1, out.size() - 2);
}

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
    return whole(path(key), *x);
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
      if (!entry.is_number()) {
        fail(text(path(key), "[", out.size(), "]"), kind(entry), "a number");
      }
      out.push_back(entry.get<double>());
    }
    return out;
  }
  std::vector<Index> integers(const std::string& key) const {
    std::vector<Index> out;
    for (const double x : numbers(key)) {
      out.push_back(whole(text(path(key), "[", out.size(), "]"), x));
    }
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
      fail(path(hf_shown(key)), "a key that grape does not know",
           text("keys that mean something for rope_type \"", type, "\""));
    }
  }

  bool empty() const { return json_->empty(); }
  const Json& json() const { return *json_; }
  const std::string& name() const { return name_; }
  std::string path(const std::string& key) const { return name_ + "." + key; }

  /// Of what type a value is, and what it is unless it holds others (of any number and depth).
  static std::string kind(const Json& x) {
    std::string out = text("a JSON ", x.type_name());
    if (x.is_string()) return out + " (" + hf_quoted(x.get_ref<const std::string&>()) + ")";
    if (x.is_structured()) return out + text(" of ", x.size(), " entries");
    return x.is_null() ? out : out + " (" + x.dump() + ")";
  }

 private:
  static Index whole(const std::string& argument, double x) {
    if (!(x >= -0x1p53 && x <= 0x1p53) || std::floor(x) != x) {
      fail(argument, text(x), "a whole number");
    }
    return static_cast<Index>(x);
  }

  const Json* json_;
  std::string name_;
};

/// A value and the path of the field that said it, for the errors of what it is used for.
template <class T>
struct HfNamed {
  T value;
  std::string path;
};

/// A field that may say something: its object and its key there.
struct HfField {
  const HfObject& object;
  const char* key;
};

/// What the fields say that are names of one thing (an old and a new one, inside of an object and
/// beside it); all that are there must agree. Empty where none is.
template <class T>
std::optional<HfNamed<T>> hf_agreed(std::initializer_list<HfField> fields) {
  std::optional<HfNamed<T>> out;
  for (const HfField& field : fields) {
    std::optional<T> x;
    if constexpr (std::same_as<T, Index>) {
      x = field.object.integer(field.key);
    } else {
      x = field.object.number(field.key);
    }
    if (!x) continue;
    if (out && out->value != *x) {
      fail(field.object.path(field.key), text(*x),
           text("the same as ", out->path, " = ", out->value));
    }
    if (!out) out = HfNamed<T>{*x, field.object.path(field.key)};
  }
  return out;
}

}  // namespace detail
}  // namespace grape::inline v0
