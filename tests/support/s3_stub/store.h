// The stub's buckets: objects that were put, and objects that follow from a rule and cost nothing:
// a body of any size is a stretch of one table, a million keys are one pattern.
//
// Byte i of a synthetic body is table[(start + i) mod kTableBytes], start a hash of key, size and
// version. kTableBytes is prime, so that bytes that end up at a wrong multiple of any chunk size
// are wrong bytes.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/s3_stub/http_server.h"

namespace sheen::s3_stub {

inline constexpr uint64_t kTableBytes = 1048583;

struct Object {
  uint64_t size = 0;
  uint64_t version = 1;
  int64_t modified = 1700000000;             // seconds since 1970
  std::shared_ptr<const std::string> bytes;  // null: synthetic
  Headers metadata;                          // names without x-amz-meta-
  std::string content_type = "binary/octet-stream";
  std::string storage_class;
  bool deleted = false;  // hides a key of a pattern

  std::string EtagOf(const std::string& key) const;  // with quotes
};

// Bytes of a synthetic object from `offset` on: as many as lie together in the table.
std::string_view SyntheticBytes(const std::string& key, const Object& object, uint64_t offset);

// Keys "PREFIX" + number, eight digits; with `per_directory` "PREFIX" + "d00001/f00002".
struct Pattern {
  std::string prefix;
  uint64_t count = 0;
  uint64_t size = 0;
  uint64_t per_directory = 0;

  std::string KeyOf(uint64_t index) const;
  std::optional<uint64_t> IndexOf(const std::string& key) const;
  uint64_t FirstNotBefore(const std::string& key) const;  // `count`: none
};

class Bucket final {
 public:
  void Put(const std::string& key, Object object);
  void Remove(const std::string& key);
  void Add(Pattern pattern) { patterns_.push_back(std::move(pattern)); }
  // New content of the same size.
  bool Touch(const std::string& key);
  std::optional<Object> Find(const std::string& key) const;

  // Walks the keys in the order of their bytes.
  class Cursor final {
   public:
    // At the first key >= `from`.
    Cursor(const Bucket* bucket, const std::string& from);
    bool AtEnd() const { return !current_; }
    const std::string& key() const { return current_->first; }
    const Object& object() const { return current_->second; }
    void Next();

   private:
    void Settle();
    const Bucket* bucket_;
    std::map<std::string, Object>::const_iterator explicit_;
    std::vector<uint64_t> indices_;
    std::vector<std::string> keys_;  // of the indices; empty: at the end
    std::optional<std::pair<std::string, Object>> current_;
  };

 private:
  std::map<std::string, Object> objects_;
  std::vector<Pattern> patterns_;
};

}  // namespace sheen::s3_stub
