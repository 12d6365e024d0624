// From a path to what it names: the walk that the kernel does for a mount, and its checks of who
// may search a directory.
//
// Coroutines; on a shard.
#pragma once

#include <string>

#include "client/filesystem.h"

namespace sheen::lib {

// Where a path's last name is. `name` is empty when the path is the root, or ends in "..".
struct Place {
  Fid parent;
  std::string name;
  client::Attr directory;  // `name` empty: what the path names
  bool slash = false;      // the path ends in one: the name is a directory's, or shall be
};

struct Walker {
  client::Filesystem* fs = nullptr;
  client::CredentialId who = 0;

  // Everything but the last name. Errors: kNoEntry, kNotDirectory, kLoop, kNameTooLong, kAccess.
  async::Task<Result<Place>> FindPlace(std::string path) const;
  // What the path names. `follow`: the last name, too, when it is a symbolic link.
  async::Task<Result<client::Attr>> Find(std::string path, bool follow) const;
  // As FindPlace, but beyond symbolic links that the last name is: where O_CREAT makes a file.
  async::Task<Result<Place>> FindPlaceBeyondLinks(std::string path) const;
};

}  // namespace sheen::lib
