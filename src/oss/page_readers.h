// PageReaders: which clients may have pages of which objects in their kernels, and who is just
// being told to forget them. A page that is mapped is read without asking anybody, so a change is
// answered to its writer when all others have forgotten what they had of the object.
//
//   read     Add, then the bytes are looked at
//   change   the bytes are changed, then Recall: who was added before is asked to forget
//
// So whoever looked at the old bytes is found. A reader that is asked may still be reading: its
// client forgets when that has come to its kernel.
//
// Thread-safe. A bucket's mutex is a leaf.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "layout/layout.h"
#include "lock/extent_locks.h"

namespace sheen::oss {

struct ObjectKey {
  uint32_t target = 0;
  layout::ObjectId id;
  auto operator<=>(const ObjectKey&) const = default;
};

struct ObjectKeyHash {
  size_t operator()(const ObjectKey& key) const {
    return std::hash<Fid>()(key.id.fid) * 31 + key.id.birth * 7 + key.id.stripe + key.target;
  }
};

class PageReaders final {
 public:
  // Beyond it readers are not known: a mapping of theirs sees changes of others when their kernel
  // next asks for the file's attributes.
  static constexpr size_t kCountMax = size_t{1} << 20;

  // One reader that is asked to forget.
  struct Call {
    explicit Call(lock::LockName reader_name) : reader(reader_name) {}
    const lock::LockName reader;
    std::atomic<bool> done{false};  // or its session has ended, or the server stops
    std::vector<std::function<void()>> waiting;  // guarded by the bucket
  };
  using CallPtr = std::shared_ptr<Call>;

  // One a session and object, of the highest id. False: there are too many.
  bool Add(const ObjectKey& key, lock::LockName reader);
  void Remove(const ObjectKey& key, lock::LockName reader);
  // The object is no more.
  void Forget(const ObjectKey& key);
  void DropSession(uint64_t session);

  struct Recalled {
    std::vector<CallPtr> begun;  // to be asked by the caller; End follows each
    std::vector<CallPtr> all;    // and those whom another change has asked before
  };
  // Nobody but `by` counts as a reader any more. Not in it: what `by` itself is asked.
  Recalled Recall(const ObjectKey& key, uint64_t by);
  // False: it is done already. Else `wake` is called once, on any thread.
  bool AddWaiter(const ObjectKey& key, Call* call, std::function<void()> wake);
  void End(const ObjectKey& key, const CallPtr& call);
  // Nobody waits any more, or will.
  void Stop();

  // Recall would find somebody.
  bool HasOthers(const ObjectKey& key, uint64_t by);
  // Readers, and those being asked.
  size_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Object {
    std::vector<lock::LockName> readers;
    std::vector<CallPtr> calls;
  };
  struct Bucket {
    std::mutex mutex;  // guards objects, and Call::waiting of theirs
    std::unordered_map<ObjectKey, Object, ObjectKeyHash> objects;
  };
  static constexpr size_t kBuckets = 64;

  Bucket& BucketOf(const ObjectKey& key) { return buckets_[ObjectKeyHash()(key) % kBuckets]; }
  void EraseIfEmpty(Bucket* bucket, const ObjectKey& key);
  // REQUIRES: the bucket's mutex. Those who waited are to be woken without it.
  static void LetGo(Call* call, std::vector<std::function<void()>>* waiting);

  std::array<Bucket, kBuckets> buckets_;
  std::atomic<size_t> count_{0};
  std::atomic<bool> stopped_{false};
};

}  // namespace sheen::oss
