#include "base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/random_source.h"

namespace sheen {
namespace {

thread_local Random* seeded = nullptr;  // SeededRandomness

// splitmix64: spreads a small seed over the generator's state.
uint64_t SplitMix(uint64_t* state) {
  *state += 0x9E3779B97F4A7C15ULL;
  uint64_t z = *state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

void FillRandom(void* out, size_t size) {
  if (seeded != nullptr) {
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
      const uint64_t word = seeded->Next();
      std::memcpy(static_cast<char*>(out) + at, &word, std::min(size - at, sizeof word));
    }
    return;
  }
  if (getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return -1;
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix(&seed);
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

SeededRandomness::SeededRandomness(uint64_t seed)
    : random_(seed), before_(std::exchange(seeded, &random_)) {}

SeededRandomness::~SeededRandomness() { seeded = before_; }

uint64_t RandomU64() {
  uint64_t value;
  FillRandom(&value, sizeof value);
  return value;
}

Uuid Uuid::Random() {
  Uuid out;
  FillRandom(out.bytes.data(), out.bytes.size());
  out.bytes[6] = static_cast<uint8_t>((out.bytes[6] & 0x0F) | 0x40);
  out.bytes[8] = static_cast<uint8_t>((out.bytes[8] & 0x3F) | 0x80);
  return out;
}

bool Uuid::Parse(const std::string& text, Uuid* out) {
  if (text.size() != 36) return false;
  size_t byte = 0;
  for (size_t i = 0; i < text.size();) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return false;
      ++i;
      continue;
    }
    const int high = HexValue(text[i]);
    const int low = HexValue(text[i + 1]);
    if (high < 0 || low < 0) return false;
    out->bytes[byte++] = static_cast<uint8_t>(high << 4 | low);
    i += 2;
  }
  return true;
}

std::string Uuid::ToString() const {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    out.push_back(kHex[bytes[i] >> 4]);
    out.push_back(kHex[bytes[i] & 0xF]);
  }
  return out;
}

}  // namespace sheen
