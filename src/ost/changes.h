// What an OST is asked to change, and what it says of an object then: see target.h.
//
// Immutable values.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "layout/layout.h"

namespace sheen::ost {

struct Owner {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t project_id = 0;
  uint32_t layout_generation = 0;
};

struct ObjectAttr {
  bool exists = false;
  uint64_t size = 0;
  uint64_t allocated_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint64_t version = 0;  // transno of the last change of its bytes
};

// What a change gives back.
struct ChangeResult {
  ObjectAttr attr;
  uint64_t transno = 0;  // 0: nothing changed
  uint64_t size_before = 0;  // the object's
};

// Which request of which client a change is: remembered with it (answered.h).
struct RequestName {
  uint64_t session = 0;
  uint32_t slot = 0;  // 0: is not remembered
  uint64_t xid = 0;
};

// The last request of a slot that the target has executed.
struct AnsweredRequest {
  uint64_t xid = 0;
  uint64_t transno = 0;
  ObjectAttr attr;  // as it was right after
};

struct WriteArgs {
  layout::ObjectId id;
  RequestName request;
  uint64_t offset = 0;
  ByteSpan data;
  Owner owner;
  int64_t ctime_seen_ns = 0;
  int64_t decided_ctime_ns = 0;  // not 0: repeated, the object's times are as they were then
  bool create = true;  // make an absent object; else kBadHandle
  bool replay = false;  // lost with a power cut: answered before any fence that was answered
  bool sync = false;   // commit before the answer
  uint64_t granted = 0;  // bytes of space set aside for it (Target::Grant)
};

struct TruncateArgs {
  layout::ObjectId id;
  RequestName request;
  uint64_t size = 0;
  Owner owner;
  int64_t ctime_seen_ns = 0;
  int64_t decided_ctime_ns = 0;  // as WriteArgs
  bool create = false;
  bool replay = false;  // as WriteArgs
};

struct AllocateArgs {
  layout::ObjectId id;
  RequestName request;
  uint64_t offset = 0;
  uint64_t length = 0;
  bool create = true;
  bool replay = false;  // as WriteArgs
  int mode = 0;  // 0, FALLOC_FL_KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]
  Owner owner;
  int64_t ctime_seen_ns = 0;
  int64_t decided_ctime_ns = 0;  // as WriteArgs
};

}  // namespace sheen::ost
