// How a record of the changelog is printed. Pure; thread-safe.
#pragma once

#include <string>

#include "sheen/v1/mds.pb.h"

namespace sheen::lfs {

// Lustre's line, with its newline:
//   1 02MKDIR 00:33:25.296886370 2026.11.21 0x0 t=[0x200000401:0xb:0x0] ef=0x13 u=0:0 nid=0@lo
//   p=[0x200000007:0x1:0x0] cl
// Control characters and backslashes are shown as \x0a, and blanks before the names as \x20.
std::string FormatChangelogRecord(const v1::ChangelogRecord& record);
// The same as a JSON object on one line.
std::string ChangelogRecordJson(const v1::ChangelogRecord& record);

}  // namespace sheen::lfs
