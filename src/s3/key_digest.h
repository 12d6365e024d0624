// Proof that a set of keys is complete: how many, and a hash that does not depend on their order.
//
//   hash = sum modulo 2^64 over the keys of mix(fnv1a_64(key))
//   mix  = the finaliser of SplitMix64
//
// Two sides that saw the same keys, each once, in whatever order, have equal digests; a key that is
// missing, extra or doubled changes both parts. Not against forgery.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

namespace sheen::s3 {

struct KeyDigest {
  uint64_t count = 0;
  uint64_t hash = 0;

  void Add(std::string_view key) {
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : key) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
    h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
    hash += h ^ (h >> 31);
    ++count;
  }
  void Add(const KeyDigest& other) {
    count += other.count;
    hash += other.hash;
  }
  auto operator<=>(const KeyDigest&) const = default;
};

}  // namespace sheen::s3
