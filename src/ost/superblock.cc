// The superblock record: 128 bytes, little-endian.
//
//   offset size  field
//        0    8  magic            "SHEENOST"
//        8    2  format version   1
//       10    2  record bytes     128
//       12    4  OST index
//       16    8  compat bits      unknown ones are ignored
//       24    8  incompat bits    an unknown one refuses the target
//       32   16  UUID
//       48    8  generation
//       56    8  size limit       bytes; 0: none
//       64    8  created          wall clock, ns since 1970
//       72    8  fsname           padded with zero bytes
//       80   44  reserved         zero
//      124    4  CRC32C of bytes 0..123
//
// Valid: length, magic and CRC are right, the reserved bytes zero, fsname 1 to 8 characters. The
// version is looked at after the CRC, so that damage is not taken for a newer format.
#include "ost/superblock.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "layout/ost_name.h"

namespace sheen::ost {
namespace {

constexpr std::string_view kMagic = "SHEENOST";
constexpr size_t kReservedBytes = 44;
constexpr size_t kCrcOffset = kSuperblockBytes - 4;

std::string_view TrimZeros(std::string_view padded) {
  const size_t end = padded.find('\0');
  return end == std::string_view::npos ? padded : padded.substr(0, end);
}

}  // namespace

std::string Superblock::TargetName() const { return layout::OstName(fsname, ost_index); }

std::string EncodeSuperblock(const Superblock& superblock) {
  Encoder out;
  out.Raw(kMagic.data(), kMagic.size());
  out.U16(superblock.version);
  out.U16(kSuperblockBytes);
  out.U32(superblock.ost_index);
  out.U64(superblock.compat);
  out.U64(superblock.incompat);
  out.Raw(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
  out.U64(superblock.generation);
  out.U64(superblock.size_limit_bytes);
  out.I64(superblock.created_ns);
  std::string name = superblock.fsname;
  name.resize(kFsnameBytesMax, '\0');
  out.Raw(name.data(), name.size());
  const std::string zeros(kReservedBytes, '\0');
  out.Raw(zeros.data(), zeros.size());
  out.U32(Crc32c(AsBytes(out.data())));
  return out.Take();
}

Result<Superblock> DecodeSuperblock(std::string_view bytes) {
  if (bytes.size() != kSuperblockBytes) {
    return Fail(Errc::kCorrupt, fmt::format("superblock has {} bytes, {} expected", bytes.size(),
                                            kSuperblockBytes));
  }
  Decoder in(bytes);
  if (in.Raw(kMagic.size()) != kMagic) {
    return Fail(Errc::kCorrupt, "superblock does not begin with SHEENOST");
  }
  const uint32_t expected = LoadLittle<uint32_t>(bytes.data() + kCrcOffset);
  const uint32_t found = Crc32c(AsBytes(bytes.substr(0, kCrcOffset)));
  if (expected != found) {
    return Fail(Errc::kCorrupt,
                fmt::format("superblock checksum {:08x} expected, {:08x} found", expected, found));
  }
  Superblock out;
  out.version = in.U16();
  const uint16_t record_bytes = in.U16();
  out.ost_index = in.U32();
  out.compat = in.U64();
  out.incompat = in.U64();
  const std::string_view uuid = in.Raw(out.uuid.bytes.size());
  std::memcpy(out.uuid.bytes.data(), uuid.data(), uuid.size());
  out.generation = in.U64();
  out.size_limit_bytes = in.U64();
  out.created_ns = in.I64();
  out.fsname = TrimZeros(in.Raw(kFsnameBytesMax));
  const std::string_view reserved = in.Raw(kReservedBytes);
  if (out.version != kFormatVersion) {
    return Fail(Errc::kBadVersion, fmt::format("format version {}; this program knows version {}",
                                               out.version, kFormatVersion));
  }
  if ((out.incompat & ~kKnownIncompat) != 0) {
    return Fail(Errc::kBadVersion,
                fmt::format("unknown feature bits {:#x}; this program knows {:#x}",
                            out.incompat & ~kKnownIncompat, kKnownIncompat));
  }
  const bool clean = std::ranges::all_of(reserved, [](char c) { return c == '\0'; });
  if (record_bytes != kSuperblockBytes || !clean || out.fsname.empty()) {
    return Fail(Errc::kCorrupt, "superblock fields break the format's rules");
  }
  return out;
}

}  // namespace sheen::ost
