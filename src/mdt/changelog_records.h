// Records of the changelog: what was changed, in order, for programs that follow the filesystem (a
// policy engine, an index), and who these are. Types, flags and their meaning are Lustre's.
// docs/formats/mdt.md is the grammar; tests/golden/mdt pins the bytes.
//
// Pure values; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fid/fid.h"
#include "sheen/result.h"

namespace sheen::mdt {

inline constexpr std::string_view kChangelogStateKey = "changelog";

// Lustre's numbers; stable on disk and on the wire.
enum class LogType : uint8_t {
  kMark = 0,
  kCreate = 1,
  kMakeDir = 2,
  kHardLink = 3,
  kSymlink = 4,
  kMakeNode = 5,
  kUnlink = 6,
  kRemoveDir = 7,
  kRename = 8,
  kOpen = 10,
  kClose = 11,
  kLayout = 12,
  kTruncate = 13,
  kSetAttr = 14,
  kXattr = 15,
  kMtime = 17,
  kCtime = 18,
  kAtime = 19,
};
inline constexpr uint32_t kLogTypeCount = 25;  // Lustre's, with those that never occur here

// ChangelogRecord::flags of kUnlink and kRemoveDir, and of a kRename over a name.
enum LogFlag : uint16_t {
  kLogLastLink = 1,   // the file or directory has no other name
  kLogInArchive = 2,  // its data are in S3, too
};

// A set of types, by 1 << type.
using LogMask = uint32_t;
constexpr LogMask LogBit(LogType type) { return LogMask{1} << static_cast<uint32_t>(type); }
// All but openings and access times.
LogMask DefaultLogMask();

// "CREAT"; of a number that is none "?".
std::string_view NameOfLogType(uint32_t type);
// Names with blanks or commas between them, "ALL"; with '+' or '-' in front of a name it is added
// to `before` or taken away. Errors: kInvalid (no such type), kNotSupported (one that is not
// recorded here), with the name.
Result<LogMask> ParseLogMask(std::string_view text, LogMask before);
// "CREAT MKDIR ": names in their order, a `separator` after each.
std::string FormatLogMask(LogMask mask, char separator);

struct ChangelogRecord {
  LogType type = LogType::kMark;
  uint16_t flags = 0;  // LogFlag; attributes that were set; of kOpen and kClose how it was opened
  int64_t time_ns = 0;
  Fid fid;     // what was changed; of kRename what lost its name to it, or zero
  Fid parent;  // directory of `name`; or zero
  std::string name;
  Fid source;  // kRename: what was renamed
  Fid source_parent;
  std::string source_name;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string nid;         // of the client: "10.0.0.5@tcp"
  uint32_t open_mode = 0;  // kOpen: 1 read, 2 write, 4 execute
  std::string xattr;       // kXattr
  std::string job_id;
  bool operator==(const ChangelogRecord&) const = default;
};

struct ChangelogUser {
  uint32_t id = 0;   // "cl1"; never given twice
  std::string name;  // "cl1-name"; may be empty
  LogMask mask = 0;  // 0: the default
  uint64_t index = 0;   // records up to it are done with
  int64_t used_ns = 0;  // of its registration or last clear
  bool operator==(const ChangelogUser&) const = default;
  std::string ToString() const;  // "cl1", "cl1-name"
};

// There is a row when there was ever a user.
struct ChangelogState {
  uint64_t given = 0;   // indexes up to it, at least, were given to records
  uint64_t purged = 0;  // records up to it are gone, whatever rows there are
  uint32_t next_user = 1;
  std::vector<ChangelogUser> users;  // by id
  bool operator==(const ChangelogState&) const = default;
};

std::string ChangelogKey(uint64_t index);
std::string Encode(const ChangelogRecord& record);
std::string Encode(const ChangelogState& state);
Result<ChangelogRecord> DecodeChangelogRecord(std::string_view bytes);
Result<ChangelogState> DecodeChangelogState(std::string_view bytes);

}  // namespace sheen::mdt
