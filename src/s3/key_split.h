// Where to cut a range of keys in two, for listing it in parallel without knowing what is in it.
//
// Keys are ordered by their bytes, which for UTF-8 is the order of their code points. Cuts are made
// between code points, so that a cut is a text that S3 takes as start-after. A cut needs no key to
// be there: any text divides the keys into those up to it and those behind it, so that every cut is
// right, and a good one is only a matter of speed.
//
// Pure functions; thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheen::s3 {

// Of UTF-8, strictly. nullopt: it is none, and is not cut.
std::optional<std::vector<char32_t>> CodePoints(std::string_view text);
std::string Utf8Of(const std::vector<char32_t>& points);

// Cuts behind everything that begins with the first `index` + 1 code points of `key`: the greatest
// text with that beginning, as far as keys have such an end.
std::string CutBehind(const std::vector<char32_t>& key, size_t index);

// A text about half-way between `low` and `high` at their first difference: low < cut < high.
// An empty `high` is behind all keys. nullopt: there is nothing between, or one is not UTF-8.
std::optional<std::string> CutBetween(std::string_view low, std::string_view high);

}  // namespace sheen::s3
