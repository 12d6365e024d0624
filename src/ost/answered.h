// Answered: which requests a target has executed, so that one whose answer was lost is answered
// again and not executed again, also after a restart. A request is noted in the step that gives
// its change a transno, and its row goes with that change's commit: what is committed is never
// executed twice. What is not committed nobody else has built on (oss/uncommitted.h).
//
//   key    "answered/", session id (u64 big-endian), slot (u32 big-endian), in kMetaFamily
//   value  u8 version 1, u8 1 if the object exists, u64 xid, u64 transno, u64 size, u64 allocated,
//          i64 mtime, i64 ctime, CRC32C of all before; little-endian
//
// Of a slot only the last request counts: a client uses a slot again when it was answered.
//
// Thread-safe; the mutex is a leaf.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "kv/store.h"
#include "ost/target.h"

namespace sheen::ost {

class Answered final {
 public:
  using Slot = std::pair<uint64_t, uint32_t>;  // session, slot
  using Slots = std::map<Slot, AnsweredRequest>;

  // A change of this boot; nothing when the request has no slot.
  void Note(const RequestName& request, uint64_t transno, const ObjectAttr& attr);
  // Those noted since the last Take, for the next commit; back again if that fails.
  Slots Take();
  void PutBack(Slots slots);
  // Of earlier boots, by their rows.
  Status Load(std::string_view key, std::string_view value);
  std::optional<AnsweredRequest> Find(uint64_t session, uint32_t slot) const;
  void Forget(uint64_t session);
  std::set<uint64_t> Sessions() const;

  static void AppendRows(const Slots& slots, kv::Batch* batch);
  static bool IsKey(std::string_view key);
  static void DeleteRows(uint64_t session, kv::Batch* batch);

 private:
  mutable std::mutex mutex_;  // guards what follows
  Slots loaded_;
  Slots noted_;
};

}  // namespace sheen::ost
