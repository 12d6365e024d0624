// Pseudo-random numbers from one seed (xoshiro256++ by Blackman and Vigna, public domain), and
// random bytes from the kernel for identities and secrets.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace sheen {

// Not thread-safe. The same seed gives the same numbers on every machine.
class Random final {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // In [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // True once in `n` calls on average.
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  std::array<uint64_t, 4> state_;
};

// From getrandom(2). Thread-safe.
uint64_t RandomU64();

// 128 bits, printed as RFC 9562 version 4: "4f6c0f3e-....".
struct Uuid {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Uuid&) const = default;

  static Uuid Random();
  // False when `text` is not a UUID.
  static bool Parse(const std::string& text, Uuid* out);
  std::string ToString() const;
  bool empty() const { return *this == Uuid{}; }
};

}  // namespace sheen
