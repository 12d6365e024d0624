// XattrCache: values of extended attributes. Every change of an inode's xattrs moves its ctime, so
// a value is right as long as the inode's attributes, known under their lock, have the ctime of
// when it was asked for; the lock's callback says when that has ended.
//
//   before = attributes under the lock; ask the MDS; after = attributes under the lock
//   Put(who, fid, name, {before, after}, value)      kept if both have one ctime
//   Find(who, fid, name, now's ctime)
//
// By who asked: not everybody may read them all.
//
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/types.h"
#include "fid/fid.h"

namespace sheen::client {

class XattrCache final {
 public:
  struct Question {
    CredentialId who = 0;
    Fid fid;
    std::string name;
  };
  // The value; an empty optional inside: there is none of that name.
  using Answer = std::optional<std::string>;

  // `bytes_max`: of names and values, about.
  explicit XattrCache(uint64_t bytes_max = 16U << 20) : bucket_bytes_max_(bytes_max / kBuckets) {}

  std::optional<Answer> Find(const Question& question, int64_t ctime_ns);
  void Put(const Question& question, int64_t ctime_ns, Answer value);

 private:
  struct Value {
    CredentialId who = 0;
    std::string name;
    Answer value;
  };
  struct Inode {
    int64_t ctime_ns = 0;
    std::vector<Value> values;
    uint64_t bytes = 0;
  };
  struct Bucket {
    std::mutex mutex;  // guards the rest
    std::unordered_map<Fid, Inode> inodes;
    uint64_t bytes = 0;
  };
  static constexpr size_t kBuckets = 64;
  Bucket& BucketOf(const Fid& fid) { return buckets_[std::hash<Fid>()(fid) / 64 % kBuckets]; }

  const uint64_t bucket_bytes_max_;
  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace sheen::client
