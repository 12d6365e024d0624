// ListedKeys: which keys a listing had, and which directories they are in, as 64-bit hashes: 8
// bytes each. A key that is not there may seem to be (1 in 2^64 for each that is), never the other
// way round.
//
// Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "s3/key_digest.h"

namespace sheen::agent {

class ListedKeys final {
 public:
  void Add(std::string_view key) {
    hashes_.push_back(HashOf(key));
    sorted_ = false;
    // "a/b/c" is in "a/b/" and "a/"; those of the key before it are known.
    const size_t slash = key.rfind('/');
    std::string_view above = slash == key.npos ? "" : key.substr(0, slash + 1);
    if (above == last_above_) return;
    last_above_ = above;
    while (!above.empty()) {
      hashes_.push_back(HashOf(above));
      above.remove_suffix(1);
      const size_t next = above.rfind('/');
      above = next == above.npos ? "" : above.substr(0, next + 1);
    }
    if (hashes_.size() >= 2 * unique_ + kSortEvery) Sort();
  }
  // Key of an object, or of a directory ("a/").
  bool Contains(std::string_view key) {
    if (!sorted_) Sort();
    return std::ranges::binary_search(hashes_, HashOf(key));
  }

 private:
  static constexpr size_t kSortEvery = 1 << 16;
  static uint64_t HashOf(std::string_view key) {
    s3::KeyDigest digest;
    digest.Add(key);
    return digest.hash;
  }
  // Directories come again and again when pages of different parts are mixed.
  void Sort() {
    std::ranges::sort(hashes_);
    const auto rest = std::ranges::unique(hashes_);
    hashes_.erase(rest.begin(), rest.end());
    unique_ = hashes_.size();
    sorted_ = true;
  }

  std::vector<uint64_t> hashes_;
  std::string last_above_;
  size_t unique_ = 0;
  bool sorted_ = true;
};

}  // namespace sheen::agent
