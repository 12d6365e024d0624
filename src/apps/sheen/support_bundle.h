// `sheen support-bundle`: one .tar.gz of what somebody who helps from afar asks for: logs,
// configuration without secrets, state, versions, facts of the kernel, sizes of the stores.
//
// What cannot be had is no error: the archive's MANIFEST says what is in it and what is not, and
// why.
#pragma once

#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

struct SupportBundleOptions {
  std::string path;                          // of the archive; empty: named by host and time
  std::string configuration = "/etc/sheen";  // directory of the TOML files
  std::vector<std::string> servers;          // HOST:CONTROLPORT, asked besides those that run here
  size_t log_bytes_max = 1 << 20;            // of the end of each log
};

struct SupportBundle {
  struct File {
    std::string path;
    size_t bytes = 0;
  };
  struct Missing {
    std::string path;
    std::string why;
  };
  std::string path;  // of the archive
  std::vector<File> files;
  std::vector<Missing> missing;

  // The archive's MANIFEST.
  std::string AsText() const;
  // {"path", "files": [{"path", "bytes"}], "missing": [{"path", "why"}]}
  std::string AsJson() const;
};

// Blocks, a few seconds. The archive is readable by its owner alone.
// Errors: kExists, kNoEntry (no such directory), and the file's.
Result<SupportBundle> MakeSupportBundle(const SupportBundleOptions& options);

}  // namespace sheen::apps
