#include "apps/lfs/changelog_format.h"

#include <fmt/core.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "fid/fid.h"
#include "mdt/changelog_records.h"

namespace sheen::lfs {
namespace {

// Lustre's names of what a record carries besides: shown as ef=.
constexpr uint32_t kHasIds = 0x1;
constexpr uint32_t kHasNid = 0x2;
constexpr uint32_t kHasOpenMode = 0x4;
constexpr uint32_t kHasXattr = 0x8;
constexpr uint32_t kNidIsText = 0x10;
constexpr uint32_t kShownFlags = 0xFFF;
constexpr int64_t kSecond = 1'000'000'000;

// As C's "%#x", which shows zero without a prefix.
std::string FidText(const v1::Fid& fid) {
  if (fid.seq() == 0) return fmt::format("[0:{:#x}:{:#x}]", fid.oid(), fid.ver());
  return Fid{fid.seq(), fid.oid(), fid.ver()}.ToString();
}

// What would break the line, as \x0a. Other bytes are as they are: names are in any script.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < ' ' || byte == 0x7f || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

// A word of the line: blanks end it.
std::string EscapedWord(std::string_view text) {
  std::string out;
  for (const char c : Escaped(text)) {
    if (c == ' ') {
      out += "\\x20";
    } else {
      out += c;
    }
  }
  return out;
}

std::tm UtcOf(int64_t time_ns) {
  const time_t seconds = time_ns / kSecond;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return parts;
}

bool IsOpen(const v1::ChangelogRecord& record) {
  return record.type() == static_cast<uint32_t>(mdt::LogType::kOpen);
}

}  // namespace

std::string FormatChangelogRecord(const v1::ChangelogRecord& record) {
  const std::tm time = UtcOf(record.time_ns());
  std::string out = fmt::format("{} {:02}{:<5} {:02}:{:02}:{:02}.{:09} {:04}.{:02}.{:02} {:#x}",
                                record.index(), record.type(), mdt::NameOfLogType(record.type()),
                                time.tm_hour, time.tm_min, time.tm_sec, record.time_ns() % kSecond,
                                time.tm_year + 1900, time.tm_mon + 1, time.tm_mday,
                                record.flags() & kShownFlags);
  out += " t=" + FidText(record.fid());
  if (!record.job_id().empty()) out += " j=" + EscapedWord(record.job_id());
  uint32_t extra = kHasIds | kHasNid | kNidIsText;
  if (IsOpen(record)) extra |= kHasOpenMode;
  if (!record.xattr().empty()) extra |= kHasXattr;
  out += fmt::format(" ef={:#x} u={}:{} nid={}", extra, record.uid(), record.gid(),
                     EscapedWord(record.nid()));
  if (IsOpen(record)) {
    out += fmt::format(" m={}{}{}", (record.open_mode() & 1) != 0 ? 'r' : '-',
                       (record.open_mode() & 2) != 0 ? 'w' : '-',
                       (record.open_mode() & 4) != 0 ? 'x' : '-');
  }
  if (!record.xattr().empty()) out += " x=" + EscapedWord(record.xattr());
  if (record.has_parent()) out += " p=" + FidText(record.parent());
  if (!record.name().empty()) out += " " + Escaped(record.name());
  if (record.has_source()) {
    out += " s=" + FidText(record.source()) + " sp=" + FidText(record.source_parent()) + " " +
           Escaped(record.source_name());
  }
  return out + "\n";
}

std::string ChangelogRecordJson(const v1::ChangelogRecord& record) {
  nlohmann::ordered_json out;
  out["index"] = record.index();
  out["type"] = mdt::NameOfLogType(record.type());
  out["time_ns"] = record.time_ns();
  out["flags"] = record.flags();
  out["target"] = FidText(record.fid());
  if (record.has_parent()) out["parent"] = FidText(record.parent());
  if (!record.name().empty()) out["name"] = record.name();
  if (record.has_source()) {
    out["source"] = FidText(record.source());
    out["source_parent"] = FidText(record.source_parent());
    out["source_name"] = record.source_name();
  }
  out["uid"] = record.uid();
  out["gid"] = record.gid();
  out["nid"] = record.nid();
  if (!record.job_id().empty()) out["job_id"] = record.job_id();
  if (IsOpen(record)) out["open_mode"] = record.open_mode();
  if (!record.xattr().empty()) out["xattr"] = record.xattr();
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace sheen::lfs
