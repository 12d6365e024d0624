// OstNotes: what an OST's directory remembers about its surroundings, in DIR/oss.json: the MGS it
// was formatted for and the name that the MGS gave its server. A cache and a default, no part of
// the target's format: without it the daemon asks again.
//
//   {"mgs": ["10.0.0.1:7989"], "server_name": "oss0"}
//
// Blocking; for start-up and for an own thread.
#pragma once

#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

struct OstNotes {
  std::vector<std::string> mgs;  // HOST:CONTROLPORT
  std::string server_name;       // empty: not registered yet
};

// No file: empty notes. Errors: kCorrupt, kIo, with file and remedy.
Result<OstNotes> ReadOstNotes(const std::string& directory);
// "survives power loss"
Status WriteOstNotes(const std::string& directory, const OstNotes& notes);

// Replaces `path` by a file with this text: a reader sees the old or the new one, whole.
// "survives power loss"
Status WriteFileAtomically(const std::string& path, const std::string& text);
Result<std::string> ReadWholeFile(const std::string& path);

}  // namespace sheen::apps
