// LostData: bytes that were accepted and could not be stored, since this client was evicted or was
// unmounted without its servers. They are put into files of this machine, for whoever wants to
// bring them back by hand:
//
//   DIRECTORY/FSNAME/20261122T155001Z-4711/[0x200000401:0x1:0x0].data     each byte at its place
//                                         /[0x200000401:0x1:0x0].ranges   "OFFSET LENGTH" a line,
//                                                                         in the order of loss
//
// Written by a thread of its own, which begins with the first. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/bytes.h"

namespace sheen::client {

class LostData final {
 public:
  // Of one mount; what is more is not saved.
  static constexpr uint64_t kBytesMax = uint64_t{1} << 30;

  // `directory` empty: nothing is saved. It is made when there is something.
  LostData(std::string directory, std::string fsname);
  // What was given is written first.
  ~LostData();
  LostData(const LostData&) = delete;
  LostData& operator=(const LostData&) = delete;

  // `bytes` were to be at `offset` of `file`, a file's FID or what names one of its objects;
  // `owner` keeps them. What to say about it behind "...": "; saved in PATH", or "" when it is not.
  // That writing failed is in the log.
  std::string Save(const std::string& file, uint64_t offset, ByteSpan bytes,
                   std::shared_ptr<const void> owner);

 private:
  struct Piece {
    std::string path;  // without the suffix
    uint64_t offset = 0;
    ByteSpan bytes;
    std::shared_ptr<const void> owner;
  };
  void Run();

  const std::string directory_;
  const std::string fsname_;
  std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  std::string session_directory_;
  std::deque<Piece> pieces_;
  uint64_t bytes_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sheen::client
