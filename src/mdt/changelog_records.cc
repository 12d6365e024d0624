#include "mdt/changelog_records.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "mdt/record_parts.h"
#include "mdt/schema.h"

namespace sheen::mdt {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kUserNameBytesMax = 16;
constexpr size_t kSmallTextBytesMax = 64;  // of a network id, a job id

constexpr std::array<std::string_view, kLogTypeCount> kNames = {
    "MARK",  "CREAT", "MKDIR", "HLINK", "SLINK", "MKNOD", "UNLNK", "RMDIR", "RENME",
    "RNMTO", "OPEN",  "CLOSE", "LYOUT", "TRUNC", "SATTR", "XATTR", "HSM",   "MTIME",
    "CTIME", "ATIME", "MIGRT", "FLRW",  "RESYNC", "GXATR", "NOPEN"};
// Reads and refusals change nothing, so they have no batch that a record could be part of.
constexpr uint32_t kGetXattr = 23;
constexpr uint32_t kRefusedOpen = 24;
constexpr LogMask kAll = ((LogMask{1} << kLogTypeCount) - 1) & ~(LogMask{1} << kGetXattr) &
                         ~(LogMask{1} << kRefusedOpen);

Status CheckType(uint32_t type, std::string_view name) {
  if (type == kLogTypeCount) {
    return Fail(Errc::kInvalid, "'" + std::string(name) + "' is no type of changelog records");
  }
  if (type == kGetXattr || type == kRefusedOpen) {
    return Fail(Errc::kNotSupported, "records of type " + std::string(name) + " are not made");
  }
  return {};
}

}  // namespace

LogMask DefaultLogMask() {
  return kAll & ~(LogBit(LogType::kOpen) | LogBit(LogType::kAtime));
}

std::string_view NameOfLogType(uint32_t type) {
  return type < kLogTypeCount ? kNames[type] : "?";
}

Result<LogMask> ParseLogMask(std::string_view text, LogMask before) {
  LogMask mask = 0;
  bool first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" ,\n"), text.size());
    std::string_view name = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (name.empty()) continue;
    const bool changes = name[0] == '+' || name[0] == '-';
    const bool takes = name[0] == '-';
    if (first && changes) mask = before;
    first = false;
    if (changes) name.remove_prefix(1);
    LogMask bits = kAll;
    if (name != "ALL") {
      const auto type =
          static_cast<uint32_t>(std::ranges::find(kNames, name) - kNames.begin());
      SHEEN_TRY(CheckType(type, name));
      bits = LogMask{1} << type;
    }
    mask = takes ? mask & ~bits : mask | bits;
  }
  return mask;
}

std::string FormatLogMask(LogMask mask, char separator) {
  std::string out;
  for (uint32_t type = 0; type < kLogTypeCount; ++type) {
    if ((mask & (LogMask{1} << type)) == 0) continue;
    out.append(kNames[type]).push_back(separator);
  }
  return out;
}

std::string ChangelogUser::ToString() const {
  return "cl" + std::to_string(id) + (name.empty() ? "" : "-" + name);
}

std::string ChangelogKey(uint64_t index) {
  std::string key;
  AppendBig64(&key, index);
  return key;
}

std::string Encode(const ChangelogRecord& record) {
  Encoder out;
  out.U8(kVersion);
  out.U8(static_cast<uint8_t>(record.type));
  out.U16(record.flags);
  out.I64(record.time_ns);
  PutFid(&out, record.fid);
  PutFid(&out, record.parent);
  PutFid(&out, record.source);
  PutFid(&out, record.source_parent);
  out.U32(record.uid);
  out.U32(record.gid);
  out.U32(record.open_mode);
  out.Bytes(record.name);
  out.Bytes(record.source_name);
  out.Bytes(record.xattr);
  out.Bytes(record.nid);
  out.Bytes(record.job_id);
  return out.Take();
}

Result<ChangelogRecord> DecodeChangelogRecord(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kVersion, "changelog"));
  ChangelogRecord record;
  const uint8_t type = in.U8();
  record.type = static_cast<LogType>(type);
  record.flags = in.U16();
  record.time_ns = in.I64();
  record.fid = TakeFid(&in);
  record.parent = TakeFid(&in);
  record.source = TakeFid(&in);
  record.source_parent = TakeFid(&in);
  record.uid = in.U32();
  record.gid = in.U32();
  record.open_mode = in.U32();
  record.name = in.Bytes();
  record.source_name = in.Bytes();
  record.xattr = in.Bytes();
  record.nid = in.Bytes();
  record.job_id = in.Bytes();
  if (!in.done() || type >= kLogTypeCount || record.name.size() > kNameBytesMax ||
      record.source_name.size() > kNameBytesMax || record.xattr.size() > kXattrNameBytesMax ||
      record.nid.size() > kSmallTextBytesMax || record.job_id.size() > kSmallTextBytesMax) {
    return Fail(Errc::kCorrupt, "changelog: record is damaged");
  }
  return record;
}

std::string Encode(const ChangelogState& state) {
  Encoder out;
  out.U8(kVersion);
  out.U64(state.given);
  out.U64(state.purged);
  out.U32(state.next_user);
  out.U32(static_cast<uint32_t>(state.users.size()));
  for (const ChangelogUser& user : state.users) {
    out.U32(user.id);
    out.Bytes(user.name);
    out.U32(user.mask);
    out.U64(user.index);
    out.I64(user.used_ns);
  }
  return out.Take();
}

Result<ChangelogState> DecodeChangelogState(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kVersion, "changelog's users"));
  ChangelogState state;
  state.given = in.U64();
  state.purged = in.U64();
  state.next_user = in.U32();
  const uint32_t count = in.U32();
  bool valid = state.purged <= state.given;
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    ChangelogUser user;
    user.id = in.U32();
    user.name = in.Bytes();
    user.mask = in.U32();
    user.index = in.U64();
    user.used_ns = in.I64();
    valid = valid && user.id != 0 && user.id < state.next_user && user.index <= state.given &&
            user.name.size() <= kUserNameBytesMax &&
            (state.users.empty() || state.users.back().id < user.id);
    state.users.push_back(std::move(user));
  }
  if (!in.done() || !valid) return Fail(Errc::kCorrupt, "changelog's users: record is damaged");
  return state;
}

}  // namespace sheen::mdt
