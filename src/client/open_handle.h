// What OpenFile (open_file.h) takes and gives.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "client/attr_merge.h"
#include "client/types.h"

namespace sheen::client {

struct OpenHandle {
  uint64_t id = 0;
  uint32_t flags = 0;
  CredentialId who = 0;
  // Opened under the attributes' lock (local_opens.cc): the MDS has not been told of it.
  bool local = false;
  bool telling = false;  // it is being told
  // Who opened it, where `who` is not: the MDS is told of local opens as the superuser's.
  CredentialId opener = 0;

  // For whom its reads and writes are.
  CredentialId origin() const { return opener != 0 ? opener : who; }
};

// What a request to an OST must say about the file.
struct IoView {
  LayoutPtr layout;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t project_id = 0;
  int64_t ctime_seen_ns = 0;
};

struct ObjectPlace {
  uint32_t component = 0;
  uint32_t stripe = 0;
  auto operator<=>(const ObjectPlace&) const = default;
};

// An object with bytes that are not known to be committed.
struct DirtyObject {
  ObjectPlace place;
  uint64_t transno = 0;  // of the last write
};

struct CloseStart {
  bool known_handle = false;
  CredentialId origin = 0;  // the handle's
  bool writer = false;  // the handle was for writing
  // The last handle for writing goes, and this mount wrote since the first: size and times are to
  // be reported. Handles that go before it report nothing; their writes are in its report.
  bool report = false;
  int64_t atime_ns = 0;  // 0: not to be reported
  bool local = false;    // the MDS does not know the handle
  bool telling = false;  // it is just being told: nothing was begun, call again after WaitTold
};

// What the last close of a writer knows.
struct CloseReport {
  LayoutPtr layout;
  ObjectStates states;
  std::vector<uint64_t> created_at;  // per `places`: transno of the first write seen
  std::vector<ObjectPlace> places;   // objects that this mount wrote
  uint64_t size_epoch = 0;
};

}  // namespace sheen::client
