// HandleTable: which session has which file open. In memory only: after a restart clients declare
// their handles again (OpenRequest::reopen).
//
// Thread-safe. A file's handles change only under its latch, so that an operation that holds the
// latch may trust what it reads.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fid/fid.h"
#include "sheen/result.h"

namespace sheen::mds {

struct OpenHandle {
  uint64_t session = 0;
  uint64_t handle = 0;  // made by the client, unique in its session
  bool write = false;
  bool execute = false;  // a running program
  uint16_t log_flags = 0;  // LogOpenFlags of how it was opened
};

class HandleTable final {
 public:
  static constexpr size_t kHandlesPerSessionMax = 1 << 20;

  void AddSession(uint64_t session);
  // From now on Add refuses it. Gives what it has open; Remove each under its file's latch.
  std::vector<std::pair<Fid, uint64_t>> CloseSession(uint64_t session);
  void ForgetSession(uint64_t session);

  // The same handle again is no error (a resend). Errors: kEvicted (session unknown or closed),
  // kInvalid (the handle is of another file), kNoMemory (too many).
  Status Check(const Fid& fid, uint64_t session, uint64_t handle) const;
  // As Check; nothing is added when it fails.
  Status Add(const Fid& fid, const OpenHandle& open);
  // False: no such handle.
  bool Remove(const Fid& fid, uint64_t session, uint64_t handle);

  std::optional<OpenHandle> Find(const Fid& fid, uint64_t session, uint64_t handle) const;
  bool IsOpen(const Fid& fid) const;
  // Handles, `session`'s `handle` not counted.
  struct Others {
    size_t all = 0;
    size_t writers = 0;
  };
  Others OthersOf(const Fid& fid, uint64_t session, uint64_t handle) const;
  // Of other sessions: a client's kernel looks after its own.
  struct OtherSessions {
    bool write = false;
    bool execute = false;
  };
  OtherSessions OfOtherSessions(const Fid& fid, uint64_t session) const;
  bool HasOpen(const Fid& fid, uint64_t session, bool for_write) const;
  size_t size() const;

 private:
  struct SessionHandles {
    bool closed = false;
    std::unordered_map<uint64_t, Fid> files;  // by handle
  };
  Status CheckLocked(const Fid& fid, uint64_t session, uint64_t handle) const;

  mutable std::mutex mutex_;  // guards the maps
  std::unordered_map<Fid, std::vector<OpenHandle>> files_;
  std::unordered_map<uint64_t, SessionHandles> sessions_;
};

}  // namespace sheen::mds
