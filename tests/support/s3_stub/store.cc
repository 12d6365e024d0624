#include "support/s3_stub/store.h"

#include <cstdio>

#include "support/s3_stub/signature.h"

namespace sheen::s3_stub {
namespace {

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t HashOf(const std::string& key, const Object& object) {
  uint64_t hash = 14695981039346656037ULL;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return Mix(hash ^ Mix(object.size) ^ Mix(object.version * 7919));
}

const std::string& Table() {
  static const std::string table = [] {
    std::string out(kTableBytes, 0);
    for (uint64_t i = 0; i < kTableBytes; ++i) out[i] = static_cast<char>(Mix(i) >> 56);
    return out;
  }();
  return table;
}

std::string Digits(uint64_t number, int width) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*llu", width, static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

std::string Object::EtagOf(const std::string& key) const {
  if (bytes != nullptr) return "\"" + Sha256(*bytes).substr(0, 32) + "\"";
  const uint64_t hash = HashOf(key, *this);
  char text[40];
  std::snprintf(text, sizeof text, "\"%016llx%016llx\"", static_cast<unsigned long long>(hash),
                static_cast<unsigned long long>(Mix(hash)));
  return text;
}

std::string_view SyntheticBytes(const std::string& key, const Object& object, uint64_t offset) {
  const uint64_t place = (HashOf(key, object) % kTableBytes + offset % kTableBytes) % kTableBytes;
  return std::string_view(Table()).substr(place);
}

std::string Pattern::KeyOf(uint64_t index) const {
  if (per_directory == 0) return prefix + Digits(index, 8);
  return prefix + "d" + Digits(index / per_directory, 5) + "/f" + Digits(index % per_directory, 5);
}

uint64_t Pattern::FirstNotBefore(const std::string& key) const {
  uint64_t low = 0;
  uint64_t high = count;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (KeyOf(middle) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<uint64_t> Pattern::IndexOf(const std::string& key) const {
  if (!key.starts_with(prefix)) return std::nullopt;
  const uint64_t index = FirstNotBefore(key);
  if (index == count || KeyOf(index) != key) return std::nullopt;
  return index;
}

void Bucket::Put(const std::string& key, Object object) {
  const auto before = Find(key);
  if (before) object.version = before->version + 1;
  objects_[key] = std::move(object);
}

void Bucket::Remove(const std::string& key) {
  if (Find(key)) objects_[key] = Object{.deleted = true};
}

bool Bucket::Touch(const std::string& key) {
  std::optional<Object> object = Find(key);
  if (!object) return false;
  object->bytes = nullptr;
  ++object->modified;
  Put(key, *std::move(object));
  return true;
}

std::optional<Object> Bucket::Find(const std::string& key) const {
  const auto found = objects_.find(key);
  if (found != objects_.end()) {
    if (found->second.deleted) return std::nullopt;
    return found->second;
  }
  for (const Pattern& pattern : patterns_) {
    if (pattern.IndexOf(key)) return Object{.size = pattern.size};
  }
  return std::nullopt;
}

Bucket::Cursor::Cursor(const Bucket* bucket, const std::string& from)
    : bucket_(bucket), explicit_(bucket->objects_.lower_bound(from)) {
  for (const Pattern& pattern : bucket->patterns_) {
    const uint64_t index = pattern.FirstNotBefore(from);
    indices_.push_back(index);
    keys_.push_back(index < pattern.count ? pattern.KeyOf(index) : "");
  }
  Settle();
}

// The least of what all sources are at; what was put hides what a pattern says.
void Bucket::Cursor::Settle() {
  for (;;) {
    current_.reset();
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i].empty() || (current_ && keys_[i] >= current_->first)) continue;
      current_.emplace(keys_[i], Object{.size = bucket_->patterns_[i].size});
    }
    if (explicit_ != bucket_->objects_.end() &&
        (!current_ || explicit_->first <= current_->first)) {
      current_.emplace(explicit_->first, explicit_->second);
    }
    if (!current_ || !current_->second.deleted) return;
    const std::string hidden = current_->first;
    ++explicit_;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i] != hidden) continue;
      const Pattern& pattern = bucket_->patterns_[i];
      keys_[i] = ++indices_[i] < pattern.count ? pattern.KeyOf(indices_[i]) : "";
    }
  }
}

void Bucket::Cursor::Next() {
  const std::string passed = current_->first;
  if (explicit_ != bucket_->objects_.end() && explicit_->first == passed) ++explicit_;
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (keys_[i] != passed) continue;
    const Pattern& pattern = bucket_->patterns_[i];
    keys_[i] = ++indices_[i] < pattern.count ? pattern.KeyOf(indices_[i]) : "";
  }
  Settle();
}

}  // namespace sheen::s3_stub
