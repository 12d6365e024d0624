// `sheen repo ...`: data repositories in S3, as commands. They talk to the MDS's control port, and
// to an agent that the MDS names. Each prints to standard output.
//
// Belongs to the main thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "sheen/result.h"

namespace CLI {
class App;
}

namespace sheen::apps {

struct RepoFlags {
  std::string server = "127.0.0.1:7989";
  std::string dev;  // an instance of `sheen dev` instead
  std::string path;
  std::string url;
  std::string endpoint;
  std::string region;
  std::string profile;
  std::string credentials;
  std::string chunk = "1G";
  std::string failures;  // file for the CSV
  std::string bandwidth;
  std::string import;  // "new,changed,deleted", "none"
  std::string every;   // "5m", "off"
  double requests = 0;
  uint32_t concurrency = 0;
  bool path_style = false;
  bool no_import = false;
  bool no_head = false;
  bool keep_data = false;  // of remove
  bool json = false;
  std::set<std::string> given;  // of update: options that were written
};

// Errors: with what to do.
Status RepoAdd(const RepoFlags& flags);
Status RepoList(const RepoFlags& flags);
Status RepoShow(const RepoFlags& flags);
// The settings that are given; the others stay.
Status RepoUpdate(const RepoFlags& flags);
Status RepoRemove(const RepoFlags& flags);
// kIo when not all keys could be imported.
Status RepoImport(const RepoFlags& flags);
// Repositories and agents.
Status RepoStatus(const RepoFlags& flags);

}  // namespace sheen::apps
