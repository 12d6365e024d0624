// DirectoryLock: only one process works on a target's directory. flock(2) on the file `lock` in it,
// which also holds the pid of the owner for the message that the second one prints.
//
// Blocking system calls: for start-up only. Immutable after construction.
#pragma once

#include <memory>
#include <string>

#include "sheen/result.h"

namespace sheen::ost {

class DirectoryLock final {
 public:
  // Errors: kBusy, naming the directory and the pid that holds it; kNoEntry (no such directory);
  // kReadOnly, kAccess, kNoSpace with the directory named.
  static Result<std::unique_ptr<DirectoryLock>> Acquire(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
};

}  // namespace sheen::ost
