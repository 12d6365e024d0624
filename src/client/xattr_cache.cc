#include "client/xattr_cache.h"

#include <algorithm>
#include <utility>

namespace sheen::client {
namespace {

// Of what is kept beside names and values.
constexpr uint64_t kOverheadBytes = 100;
constexpr size_t kValueBytesMax = 4096;
constexpr size_t kValuesMax = 32;  // of one inode

}  // namespace

std::optional<XattrCache::Answer> XattrCache::Find(const Question& question, int64_t ctime_ns) {
  Bucket& bucket = BucketOf(question.fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.inodes.find(question.fid);
  if (found == bucket.inodes.end() || found->second.ctime_ns != ctime_ns) return std::nullopt;
  for (const Value& value : found->second.values) {
    if (value.who == question.who && value.name == question.name) return value.value;
  }
  return std::nullopt;
}

void XattrCache::Put(const Question& question, int64_t ctime_ns, Answer value) {
  const uint64_t bytes = kOverheadBytes + question.name.size() + (value ? value->size() : 0);
  if (value && value->size() > kValueBytesMax) return;
  Bucket& bucket = BucketOf(question.fid);
  const std::scoped_lock lock(bucket.mutex);
  if (bucket.bytes + bytes > bucket_bytes_max_) {
    bucket.inodes.clear();
    bucket.bytes = 0;
    if (bytes > bucket_bytes_max_) return;
  }
  Inode& inode = bucket.inodes[question.fid];
  if (inode.ctime_ns > ctime_ns) return;  // a newer answer was faster
  if (inode.ctime_ns != ctime_ns || inode.values.size() >= kValuesMax) {
    bucket.bytes -= std::exchange(inode.bytes, 0);
    inode.values.clear();
    inode.ctime_ns = ctime_ns;
  }
  const auto same = [&](const Value& one) {
    return one.who == question.who && one.name == question.name;
  };
  if (std::ranges::any_of(inode.values, same)) return;  // of one ctime there is one value
  inode.values.push_back({question.who, question.name, std::move(value)});
  inode.bytes += bytes;
  bucket.bytes += bytes;
}

}  // namespace sheen::client
