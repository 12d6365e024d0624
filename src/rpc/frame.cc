#include "rpc/frame.h"

#include <string>

#include "base/crc32c.h"

namespace sheen::rpc {
namespace {

// Offsets of the fields; the header's comment has the table.
enum Offset : size_t {
  kAtMagic = 0,
  kAtVersion = 4,
  kAtFlags = 6,
  kAtOpcode = 8,
  kAtStatus = 10,
  kAtTarget = 12,
  kAtXid = 16,
  kAtBodyBytes = 24,
  kAtBulkBytes = 28,
  kAtSlot = 32,
  kAtCredential = 36,
  kAtTransno = 40,
  kAtLastCommitted = 48,
  kAtDeadline = 56,
  kAtBulkCrc = 64,
  kAtBodyCrc = 68,
  kAtReserved = 72,
  kAtHeaderCrc = 76,
};
static_assert(kAtHeaderCrc + sizeof(uint32_t) == kHeaderBytes);

std::string Hex(uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + out;
}

std::string AboveLimit(std::string_view field, uint32_t value, uint32_t limit) {
  return "frame: " + std::string(field) + " is " + std::to_string(value) + ", at most " +
         std::to_string(limit) + " is allowed";
}

Status CheckFields(const FrameHeader& header, uint32_t reserved) {
  if (header.version < kProtocolVersionOldest || header.version > kProtocolVersion) {
    return Fail(Errc::kBadVersion, "frame: version is " + std::to_string(header.version) +
                                       ", known are " + std::to_string(kProtocolVersionOldest) +
                                       " to " + std::to_string(kProtocolVersion) +
                                       ": upgrade the older side");
  }
  if ((header.flags & ~kKnownFlags) != 0) {
    return Fail(Errc::kProtocol, "frame: flags " + Hex(header.flags) + " has unknown bits");
  }
  if (!header.is_reply() && header.status != Errc::kOk) {
    return Fail(Errc::kProtocol, "frame: status of a request is " +
                                     std::to_string(static_cast<uint16_t>(header.status)) +
                                     ", not 0");
  }
  if (header.body_bytes > kBodyBytesMax) {
    return Fail(Errc::kProtocol, AboveLimit("body_bytes", header.body_bytes, kBodyBytesMax));
  }
  if (header.bulk_bytes > kBulkBytesMax) {
    return Fail(Errc::kProtocol, AboveLimit("bulk_bytes", header.bulk_bytes, kBulkBytesMax));
  }
  if (reserved != 0) {
    return Fail(Errc::kProtocol, "frame: reserved is " + Hex(reserved) + ", not 0");
  }
  return {};
}

}  // namespace

HeaderBytes EncodeHeader(const FrameHeader& header) {
  HeaderBytes out{};
  std::byte* const at = out.data();
  StoreLittle(at + kAtMagic, kMagic);
  StoreLittle(at + kAtVersion, header.version);
  StoreLittle(at + kAtFlags, header.flags);
  StoreLittle(at + kAtOpcode, static_cast<uint16_t>(header.opcode));
  StoreLittle(at + kAtStatus, static_cast<uint16_t>(header.status));
  StoreLittle(at + kAtTarget, header.target);
  StoreLittle(at + kAtXid, header.xid);
  StoreLittle(at + kAtBodyBytes, header.body_bytes);
  StoreLittle(at + kAtBulkBytes, header.bulk_bytes);
  StoreLittle(at + kAtSlot, header.slot);
  StoreLittle(at + kAtCredential, header.credential);
  StoreLittle(at + kAtTransno, header.transno);
  StoreLittle(at + kAtLastCommitted, header.last_committed);
  StoreLittle(at + kAtDeadline, header.deadline_ms);
  StoreLittle(at + kAtBulkCrc, header.bulk_crc);
  StoreLittle(at + kAtBodyCrc, header.body_crc);
  StoreLittle(at + kAtReserved, uint32_t{0});
  StoreLittle(at + kAtHeaderCrc, Crc32c(ByteSpan(out).first(kAtHeaderCrc)));
  return out;
}

Result<FrameHeader> DecodeHeader(ByteSpan bytes) {
  if (bytes.size() < kHeaderBytes) {
    return Fail(Errc::kProtocol,
                "frame: header has " + std::to_string(bytes.size()) + " bytes, not 80");
  }
  const std::byte* const at = bytes.data();
  const auto magic = LoadLittle<uint32_t>(at + kAtMagic);
  if (magic != kMagic) {
    return Fail(Errc::kProtocol,
                "frame: magic is " + Hex(magic) + ", not " + Hex(kMagic) + " (\"SHN1\")");
  }
  const auto crc = LoadLittle<uint32_t>(at + kAtHeaderCrc);
  const uint32_t computed = Crc32c(bytes.first(kAtHeaderCrc));
  if (crc != computed) {
    return Fail(Errc::kCorrupt,
                "frame: header_crc is " + Hex(crc) + ", the bytes give " + Hex(computed));
  }
  FrameHeader header;
  header.version = LoadLittle<uint16_t>(at + kAtVersion);
  header.flags = LoadLittle<uint16_t>(at + kAtFlags);
  header.opcode = static_cast<Opcode>(LoadLittle<uint16_t>(at + kAtOpcode));
  header.status = static_cast<Errc>(LoadLittle<uint16_t>(at + kAtStatus));
  header.target = LoadLittle<uint32_t>(at + kAtTarget);
  header.xid = LoadLittle<uint64_t>(at + kAtXid);
  header.body_bytes = LoadLittle<uint32_t>(at + kAtBodyBytes);
  header.bulk_bytes = LoadLittle<uint32_t>(at + kAtBulkBytes);
  header.slot = LoadLittle<uint32_t>(at + kAtSlot);
  header.credential = LoadLittle<uint32_t>(at + kAtCredential);
  header.transno = LoadLittle<uint64_t>(at + kAtTransno);
  header.last_committed = LoadLittle<uint64_t>(at + kAtLastCommitted);
  header.deadline_ms = LoadLittle<uint64_t>(at + kAtDeadline);
  header.bulk_crc = LoadLittle<uint32_t>(at + kAtBulkCrc);
  header.body_crc = LoadLittle<uint32_t>(at + kAtBodyCrc);
  SHEEN_TRY(CheckFields(header, LoadLittle<uint32_t>(at + kAtReserved)));
  return header;
}

}  // namespace sheen::rpc
