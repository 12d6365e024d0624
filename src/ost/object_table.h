// Object: what a target knows in memory of one object, its open file included. ObjectTable: the
// objects in use and recently used ones; bounded, because each may hold a file descriptor.
//
// Both thread-safe by the rules written at their members.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "async/rw_lock.h"
#include "io/file_io.h"
#include "layout/layout.h"
#include "ost/index_record.h"

namespace sheen::ost {

struct ObjectIdHash {
  size_t operator()(const layout::ObjectId& id) const noexcept {
    return std::hash<Fid>()(id.fid) ^ id.birth * 0xD6E8FEB86659FD93ULL ^
           id.stripe * 0xA5A3564E27F88C15ULL;
  }
};

// Lock order: lock, row_lock, Core::commit_mutex, mutex. Several objects: in the order of their
// ids.
struct Object {
  explicit Object(const layout::ObjectId& object_id) : id(object_id) {}

  const layout::ObjectId id;
  // Reads and writes share it; truncate, punch, destroy and the creation hold it alone.
  async::AsyncRwLock lock;
  // Held alone by whoever loads or writes the index row, from reading `record` until the store has
  // the row, so that rows reach the store in the order of their contents.
  async::AsyncRwLock row_lock;

  bool listed = false;  // in Core::dirty; guarded by Core::commit_mutex

  std::mutex mutex;  // guards everything below; never held over an await
  bool loaded = false;
  bool exists = false;
  bool destroyed = false;
  Error damage;                         // not kOk: every operation answers with it
  io::FileId file = io::FileId::kNone;  // open while `exists`
  IndexRecord record;                   // the row: committed state, and intents
  uint64_t size = 0;                    // as clients see it; times likewise
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint64_t charged_bytes = 0;  // counted against the target's space
  uint64_t dense_end = 0;      // all bytes below are known to have disk space
  // As the record's, and fills that no commit has recorded yet.
  std::optional<Residency> residency;
  uint64_t releases = 0;  // raised by each: what a commit captured as present may be absent
  // Raised by what makes a size captured for a commit void: truncate, punch, destroy.
  uint64_t version = 0;
  bool cutting = false;  // such an operation is under way: a commit leaves the row as it is
};

// Thread-safe. An object is kept as long as someone else holds it; others may be dropped, the least
// recently used first. Only clean objects are dropped: dirty ones are held by the commit's list.
class ObjectTable final {
 public:
  explicit ObjectTable(uint32_t objects_max);

  // The object, a new one if it is not here. Files of objects dropped for it are added to
  // `to_close`, for the caller to close.
  std::shared_ptr<Object> Acquire(const layout::ObjectId& id, std::vector<io::FileId>* to_close);
  // A later Acquire() of its id makes a new one.
  void Remove(const Object* object);
  std::vector<std::shared_ptr<Object>> TakeAll();
  size_t size() const;

 private:
  using List = std::list<std::shared_ptr<Object>>;
  struct Stripe {
    mutable std::mutex mutex;  // guards both
    List by_use;               // most recently used first
    std::unordered_map<layout::ObjectId, List::iterator, ObjectIdHash> by_id;
  };
  Stripe* StripeOf(const layout::ObjectId& id);
  void Trim(Stripe* stripe, std::vector<io::FileId>* to_close);

  const uint32_t stripe_objects_max_;
  std::vector<Stripe> stripes_;
};

}  // namespace sheen::ost
