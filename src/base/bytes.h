// Byte spans and bounds-checked little-endian encoding for wire and disk formats.
//
//   Encoder out;  out.U32(7); out.Bytes(name);     // length-prefixed with u32
//   Decoder in(span);  in.U32(&x); in.Bytes(&s);  if (!in.ok()) -> corrupt
//
// A Decoder never reads past its span: the first short read makes ok() false for good and every
// later value zero, so a caller checks once, at the end. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace sheen {

using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// This code assumes a little-endian machine (x86-64, arm64): values are copied as they are.
template <class T>
inline void StoreLittle(void* destination, T value) {
  std::memcpy(destination, &value, sizeof value);
}
template <class T>
inline T LoadLittle(const void* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return value;
}
// Big-endian, for keys whose byte order must be their numeric order.
inline void AppendBig64(std::string* out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}
inline void AppendBig32(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}
inline uint64_t LoadBig64(const void* source) {
  return __builtin_bswap64(LoadLittle<uint64_t>(source));
}
inline uint32_t LoadBig32(const void* source) {
  return __builtin_bswap32(LoadLittle<uint32_t>(source));
}

class Encoder final {
 public:
  void U8(uint8_t value) { Raw(&value, sizeof value); }
  void U16(uint16_t value) { Raw(&value, sizeof value); }
  void U32(uint32_t value) { Raw(&value, sizeof value); }
  void U64(uint64_t value) { Raw(&value, sizeof value); }
  void I64(int64_t value) { Raw(&value, sizeof value); }
  // u32 length, then the bytes.
  void Bytes(std::string_view value) {
    U32(static_cast<uint32_t>(value.size()));
    out_.append(value);
  }
  void Raw(const void* data, size_t size) { out_.append(static_cast<const char*>(data), size); }
  const std::string& data() const { return out_; }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Decoder final {
 public:
  explicit Decoder(ByteSpan in) : in_(in) {}
  explicit Decoder(std::string_view in) : in_(AsBytes(in)) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return in_.size(); }
  // True when everything was read and nothing was short: the usual last check.
  bool done() const { return ok_ && in_.empty(); }

  uint8_t U8() { return Number<uint8_t>(); }
  uint16_t U16() { return Number<uint16_t>(); }
  uint32_t U32() { return Number<uint32_t>(); }
  uint64_t U64() { return Number<uint64_t>(); }
  int64_t I64() { return Number<int64_t>(); }
  std::string_view Bytes() {
    const uint32_t size = U32();
    return Raw(size);
  }
  std::string_view Raw(size_t size) {
    if (!ok_ || size > in_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view out = AsText(in_.first(size));
    in_ = in_.subspan(size);
    return out;
  }

 private:
  template <class T>
  T Number() {
    if (!ok_ || in_.size() < sizeof(T)) {
      ok_ = false;
      return 0;
    }
    const T value = LoadLittle<T>(in_.data());
    in_ = in_.subspan(sizeof(T));
    return value;
  }

  ByteSpan in_;
  bool ok_ = true;
};

}  // namespace sheen
