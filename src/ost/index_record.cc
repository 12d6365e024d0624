// Object record, little-endian. Fixed part of 128 bytes, sections, CRC.
//
//   offset size  field
//        0    1  record version    1
//        1    1  flags             1 created-uncommitted, 2 pending operation done
//        2    2  fixed bytes       128: where the sections begin
//        4    4  block bytes       of the block checksums; 0: none are kept
//        8    8  size              committed
//       16    8  allocated bytes
//       24    8  preallocated end
//       32    8  last transno
//       40    8  mtime             ns since 1970
//       48    8  ctime
//       56    4  uid
//       60    4  gid
//       64    4  project id
//       68    4  layout generation
//       72    4  fence generation
//       76    4  pending kind      0 none, 1 truncate, 2 punch, 3 zero
//       80    8  pending offset    (truncate: the size)
//       88    8  pending length
//       96    8  parent seq        at creation; 0: not known
//      104    4  parent oid
//      108    4  section count
//      112    8  created           wall clock, ns since 1970
//      120    8  committed boot    boot count of the target when it last committed the row
//      128       sections: u16 tag, u16 flags (1 critical), u32 length, bytes
//      end    4  CRC32C of everything before
//
// Valid: the CRC is right, sizes and offsets are at most 2^63-1, kinds and flags known, the
// sections fill the space up to the CRC exactly. A tombstone: u8 version 1, 7 zero bytes, i64 time,
// CRC32C.
#include "ost/index_record.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::ost {
namespace {

constexpr uint8_t kRecordVersion = 1;
constexpr uint8_t kFlagCreated = 1;
constexpr uint8_t kFlagPendingDone = 2;
constexpr uint16_t kFixedBytes = 128;
constexpr uint8_t kTombstoneVersion = 1;
constexpr uint64_t kOffsetMax = layout::kFileBytesMax;

bool KnownSection(uint16_t tag) {
  return tag >= static_cast<uint16_t>(SectionTag::kBlockChecksums) &&
         tag <= static_cast<uint16_t>(SectionTag::kInFlight);
}

// `bytes` without its trailing CRC, when that is right.
Result<std::string_view> CheckCrc(std::string_view bytes, std::string_view what) {
  if (bytes.size() < 4) return Fail(Errc::kCorrupt, fmt::format("{} is too short", what));
  const std::string_view covered = bytes.substr(0, bytes.size() - 4);
  const uint32_t expected = LoadLittle<uint32_t>(bytes.data() + covered.size());
  const uint32_t found = Crc32c(AsBytes(covered));
  if (expected != found) {
    return Fail(Errc::kCorrupt,
                fmt::format("{} checksum {:08x} expected, {:08x} found", what, expected, found));
  }
  return covered;
}

Status DecodeFixed(Decoder* in, IndexRecord* out, uint32_t* section_count) {
  const uint8_t flags = in->U8();
  const uint16_t fixed_bytes = in->U16();
  out->created_uncommitted = (flags & kFlagCreated) != 0;
  out->pending_done = (flags & kFlagPendingDone) != 0;
  out->block_bytes = in->U32();
  out->size = in->U64();
  out->allocated_bytes = in->U64();
  out->preallocated_end = in->U64();
  out->last_transno = in->U64();
  out->mtime_ns = in->I64();
  out->ctime_ns = in->I64();
  out->uid = in->U32();
  out->gid = in->U32();
  out->project_id = in->U32();
  out->layout_generation = in->U32();
  out->fence_generation = in->U32();
  const uint32_t kind = in->U32();
  out->pending.kind = static_cast<PendingKind>(kind);
  out->pending.offset = in->U64();
  out->pending.length = in->U64();
  out->parent.seq = in->U64();
  out->parent.oid = in->U32();
  *section_count = in->U32();
  out->created_ns = in->I64();
  out->committed_boot = in->U64();
  if ((flags & ~(kFlagCreated | kFlagPendingDone)) != 0 ||
      kind > static_cast<uint32_t>(PendingKind::kZero)) {
    return Fail(Errc::kBadVersion,
                fmt::format("object record has unknown flags {:#x} or operation {}", flags, kind));
  }
  const bool in_range = out->size <= kOffsetMax && out->pending.offset <= kOffsetMax &&
                        out->pending.length <= kOffsetMax && out->preallocated_end <= kOffsetMax;
  if (!in->ok() || fixed_bytes != kFixedBytes || !in_range) {
    return Fail(Errc::kCorrupt, "object record breaks the format's rules");
  }
  return {};
}

}  // namespace

std::string ObjectKey(const layout::ObjectId& id) {
  std::string key;
  key.reserve(kObjectKeyBytes);
  id.fid.AppendKey(&key);
  AppendBig64(&key, id.birth);
  AppendBig32(&key, id.stripe);
  return key;
}

Result<layout::ObjectId> DecodeObjectKey(std::string_view key) {
  if (key.size() != kObjectKeyBytes) {
    return Fail(Errc::kCorrupt, fmt::format("object key has {} bytes", key.size()));
  }
  return layout::ObjectId{Fid::FromKey(key), LoadBig64(key.data() + Fid::kKeyBytes),
                          LoadBig32(key.data() + Fid::kKeyBytes + 8)};
}

std::string EncodeRecord(const IndexRecord& record) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U8(static_cast<uint8_t>((record.created_uncommitted ? kFlagCreated : 0) |
                              (record.pending_done ? kFlagPendingDone : 0)));
  out.U16(kFixedBytes);
  out.U32(record.block_bytes);
  out.U64(record.size);
  out.U64(record.allocated_bytes);
  out.U64(record.preallocated_end);
  out.U64(record.last_transno);
  out.I64(record.mtime_ns);
  out.I64(record.ctime_ns);
  out.U32(record.uid);
  out.U32(record.gid);
  out.U32(record.project_id);
  out.U32(record.layout_generation);
  out.U32(record.fence_generation);
  out.U32(static_cast<uint32_t>(record.pending.kind));
  out.U64(record.pending.offset);
  out.U64(record.pending.length);
  out.U64(record.parent.seq);
  out.U32(record.parent.oid);
  out.U32(static_cast<uint32_t>(record.sections.size() + (record.residency ? 1 : 0)));
  out.I64(record.created_ns);
  out.U64(record.committed_boot);
  if (record.residency) {
    out.U16(static_cast<uint16_t>(SectionTag::kSource));
    out.U16(kSectionCritical);
    out.Bytes(EncodeResidency(*record.residency));
  }
  for (const Section& section : record.sections) {
    out.U16(section.tag);
    out.U16(section.flags);
    out.Bytes(section.bytes);
  }
  out.U32(Crc32c(AsBytes(out.data())));
  return out.Take();
}

Result<IndexRecord> DecodeRecord(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(const std::string_view covered, CheckCrc(bytes, "object record"));
  Decoder in(covered);
  const uint8_t version = in.U8();
  if (version != kRecordVersion) {
    return Fail(Errc::kBadVersion,
                fmt::format("object record version {}; this program knows version {}", version,
                            kRecordVersion));
  }
  IndexRecord out;
  uint32_t section_count = 0;
  SHEEN_TRY(DecodeFixed(&in, &out, &section_count));
  for (uint32_t i = 0; i < section_count && in.ok(); ++i) {
    Section section;
    section.tag = in.U16();
    section.flags = in.U16();
    section.bytes = in.Bytes();
    if (in.ok() && section.tag == static_cast<uint16_t>(SectionTag::kSource)) {
      if (out.residency) return Fail(Errc::kCorrupt, "object record has two sources");
      SHEEN_TRY_ASSIGN(out.residency, DecodeResidency(section.bytes));
      continue;
    }
    if (in.ok() && !KnownSection(section.tag) && (section.flags & kSectionCritical) != 0) {
      return Fail(Errc::kBadVersion,
                  fmt::format("object record has the unknown section {}", section.tag));
    }
    out.sections.push_back(std::move(section));
  }
  if (!in.done()) return Fail(Errc::kCorrupt, "object record's sections do not fill it");
  return out;
}

std::string EncodeTombstone(int64_t destroyed_ns) {
  Encoder out;
  out.U64(kTombstoneVersion);
  out.I64(destroyed_ns);
  out.U32(Crc32c(AsBytes(out.data())));
  return out.Take();
}

Result<int64_t> DecodeTombstone(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(const std::string_view covered, CheckCrc(bytes, "tombstone"));
  Decoder in(covered);
  const uint64_t version = in.U64();
  const int64_t destroyed_ns = in.I64();
  if (!in.done()) return Fail(Errc::kCorrupt, "tombstone has a wrong length");
  if (version != kTombstoneVersion) {
    return Fail(Errc::kBadVersion, fmt::format("tombstone version {}", version));
  }
  return destroyed_ns;
}

uint32_t DirectoryHash(const layout::ObjectId& id) {
  return Crc32c(AsBytes(ObjectKey(id))) & 0xFFFF;
}

std::string ObjectDirectory(const std::string& directory, uint32_t hash) {
  return fmt::format("{}/objects/{:02x}/{:02x}", directory, hash >> 8 & 0xFF, hash & 0xFF);
}

std::string ObjectPath(const std::string& directory, const layout::ObjectId& id) {
  return ObjectDirectory(directory, DirectoryHash(id)) + "/" + id.ToString();
}

}  // namespace sheen::ost
