// The bytes of every record: little-endian numbers, `bytes` is a u32 length and that many bytes.
// docs/formats/mdt.md is the grammar with a worked example.
#include "mdt/records.h"

#include "base/bytes.h"
#include "mdt/record_parts.h"
#include "mdt/schema.h"

namespace sheen::mdt {
namespace {

constexpr uint8_t kRecordVersion = 1;
// A client's row with the same bytes; a program that does not know it must not serve, since it
// would not finish the eviction.
constexpr uint8_t kEvictedClientVersion = 2;

std::unexpected<Error> Broken(std::string_view what) {
  return Fail(Errc::kCorrupt, std::string(what) + ": record is damaged");
}

}  // namespace

std::string Encode(const Inode& inode) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U8(0);
  out.U16(inode.flags);
  out.U32(inode.mode);
  out.U32(inode.uid);
  out.U32(inode.gid);
  out.U32(inode.project_id);
  out.U32(inode.nlink);
  out.U64(inode.size);
  out.U64(inode.blocks);
  out.I64(inode.atime_ns);
  out.I64(inode.mtime_ns);
  out.I64(inode.ctime_ns);
  out.I64(inode.btime_ns);
  out.U64(inode.rdev);
  out.U64(inode.size_epoch);
  out.U64(inode.unsafe_session);
  out.U64(inode.entry_count);
  out.U32(inode.tombstone_count);
  out.U32(inode.xattr_count);
  out.U32(inode.xattr_name_bytes);
  PutFid(&out, inode.parent);
  out.Bytes(inode.layout);
  out.Bytes(inode.target);
  out.Bytes(inode.extra);
  return out.Take();
}

Result<Inode> DecodeInode(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "inode"));
  in.U8();
  Inode inode;
  inode.flags = in.U16();
  inode.mode = in.U32();
  inode.uid = in.U32();
  inode.gid = in.U32();
  inode.project_id = in.U32();
  inode.nlink = in.U32();
  inode.size = in.U64();
  inode.blocks = in.U64();
  inode.atime_ns = in.I64();
  inode.mtime_ns = in.I64();
  inode.ctime_ns = in.I64();
  inode.btime_ns = in.I64();
  inode.rdev = in.U64();
  inode.size_epoch = in.U64();
  inode.unsafe_session = in.U64();
  inode.entry_count = in.U64();
  inode.tombstone_count = in.U32();
  inode.xattr_count = in.U32();
  inode.xattr_name_bytes = in.U32();
  inode.parent = TakeFid(&in);
  inode.layout = in.Bytes();
  inode.target = in.Bytes();
  inode.extra = in.Bytes();
  if (!in.done() || (inode.IsDirectory() && !inode.parent.Valid())) return Broken("inode");
  return inode;
}

std::string Encode(const Dirent& dirent) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U8(dirent.tombstone ? 1 : 0);
  if (dirent.tombstone) return out.Take();
  out.U8(dirent.type);
  PutFid(&out, dirent.fid);
  out.U8(static_cast<uint8_t>(dirent.name.size()));
  out.Raw(dirent.name.data(), dirent.name.size());
  return out.Take();
}

Result<Dirent> DecodeDirent(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "directory entry"));
  Dirent dirent;
  const uint8_t kind = in.U8();
  dirent.tombstone = kind == 1;
  if (!dirent.tombstone) {
    dirent.type = in.U8();
    dirent.fid = TakeFid(&in);
    dirent.name = in.Raw(in.U8());
    if (kind != 0 || dirent.name.empty() || !dirent.fid.Valid()) return Broken("directory entry");
  }
  if (!in.done()) return Broken("directory entry");
  return dirent;
}

std::string Encode(const SlotRow& row) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U64(row.xid);
  out.U64(row.transno);
  out.Bytes(row.reply);
  return out.Take();
}

Result<SlotRow> DecodeSlot(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "reply slot"));
  SlotRow row;
  row.xid = in.U64();
  row.transno = in.U64();
  row.reply = in.Bytes();
  if (!in.done()) return Broken("reply slot");
  return row;
}

std::string Encode(const ClientRow& row) {
  Encoder out;
  out.U8(row.evicted ? kEvictedClientVersion : kRecordVersion);
  out.Raw(row.client.bytes.data(), row.client.bytes.size());
  out.Raw(row.secret.data(), row.secret.size());
  return out.Take();
}

Result<ClientRow> DecodeClient(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  SHEEN_TRY(CheckVersion(version, kEvictedClientVersion, "client"));
  ClientRow row;
  row.evicted = version == kEvictedClientVersion;
  const std::string_view client = in.Raw(row.client.bytes.size());
  const std::string_view secret = in.Raw(row.secret.size());
  if (!in.done()) return Broken("client");
  std::memcpy(row.client.bytes.data(), client.data(), client.size());
  std::memcpy(row.secret.data(), secret.data(), secret.size());
  return row;
}

std::string Encode(const OutboxRow& row) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U8(static_cast<uint8_t>(row.kind));
  out.U32(row.uid);
  out.U32(row.gid);
  out.U32(row.project_id);
  out.U32(row.layout_generation);
  out.U32(static_cast<uint32_t>(row.objects.size()));
  for (const layout::ObjectId& object : row.objects) {
    PutFid(&out, object.fid);
    out.U64(object.birth);
    out.U32(object.stripe);
  }
  return out.Take();
}

Result<OutboxRow> DecodeOutbox(std::string_view bytes) {
  constexpr size_t kObjectBytes = 24;
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "outbox row"));
  OutboxRow row;
  const uint8_t kind = in.U8();
  row.kind = static_cast<OutboxRow::Kind>(kind);
  row.uid = in.U32();
  row.gid = in.U32();
  row.project_id = in.U32();
  row.layout_generation = in.U32();
  const uint32_t count = in.U32();
  if (kind < 1 || kind > 2 || in.remaining() != count * kObjectBytes) return Broken("outbox row");
  row.objects.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    layout::ObjectId object;
    object.fid = TakeFid(&in);
    object.birth = in.U64();
    object.stripe = in.U32();
    row.objects.push_back(object);
  }
  if (!in.done()) return Broken("outbox row");
  return row;
}

std::string Encode(const Superblock& superblock) {
  Encoder out;
  out.U16(kFormatVersion);
  out.U64(superblock.compat);
  out.U64(superblock.incompat);
  out.Bytes(superblock.fsname);
  out.U32(superblock.index);
  out.Raw(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
  out.Raw(superblock.hash_key.data(), superblock.hash_key.size());
  out.U64(superblock.boot);
  out.U64(superblock.next_sequence);
  return out.Take();
}

Result<Superblock> DecodeSuperblock(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U16(), kFormatVersion, "superblock of the metadata target"));
  Superblock superblock;
  superblock.compat = in.U64();
  superblock.incompat = in.U64();
  // Before the rest: a feature may change what follows.
  if (in.ok() && (superblock.incompat & ~kKnownIncompat) != 0) {
    return Fail(Errc::kBadVersion,
                "the metadata target has features that this version does not know (bits " +
                    std::to_string(superblock.incompat & ~kKnownIncompat) +
                    "); start the version of Sheen that set them");
  }
  superblock.fsname = in.Bytes();
  superblock.index = in.U32();
  const std::string_view uuid = in.Raw(superblock.uuid.bytes.size());
  const std::string_view key = in.Raw(superblock.hash_key.size());
  superblock.boot = in.U64();
  superblock.next_sequence = in.U64();
  if (!in.done()) return Broken("superblock of the metadata target");
  std::memcpy(superblock.uuid.bytes.data(), uuid.data(), uuid.size());
  std::memcpy(superblock.hash_key.data(), key.data(), key.size());
  return superblock;
}

std::string EncodeLink(std::string_view name) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U8(static_cast<uint8_t>(name.size()));
  out.Raw(name.data(), name.size());
  return out.Take();
}

Result<std::string> DecodeLink(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "link"));
  std::string name(in.Raw(in.U8()));
  if (!in.done() || name.empty()) return Broken("link");
  return name;
}

std::string EncodeXattr(std::string_view value) {
  Encoder out;
  out.U8(kRecordVersion);
  out.Bytes(value);
  return out.Take();
}

Result<std::string> DecodeXattr(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "xattr"));
  std::string value(in.Bytes());
  if (!in.done() || value.size() > kXattrValueBytesMax) return Broken("xattr");
  return value;
}

std::string EncodeOrphan(int64_t unlinked_ns) {
  Encoder out;
  out.U8(kRecordVersion);
  out.I64(unlinked_ns);
  return out.Take();
}

Result<int64_t> DecodeOrphan(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "open-unlinked file"));
  const int64_t unlinked_ns = in.I64();
  if (!in.done()) return Broken("open-unlinked file");
  return unlinked_ns;
}

std::string EncodeCommitted(uint64_t transno) {
  Encoder out;
  out.U8(kRecordVersion);
  out.U64(transno);
  return out.Take();
}

Result<uint64_t> DecodeCommitted(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kRecordVersion, "commit mark"));
  const uint64_t transno = in.U64();
  if (!in.done()) return Broken("commit mark");
  return transno;
}

}  // namespace sheen::mdt
