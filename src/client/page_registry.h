// PageRegistry: objects of which the kernel of this mount may have pages, as far as the OSSs know
// of it. They call back when another client has changed such an object; then the kernel forgets
// the file's pages, so that also a mapping, which asks nobody, never shows what was before.
//
//   read       Ask; the id goes with the request
//   answer     Known: from now on reads need not say it
//   callback   TakeCalled; the next read asks anew
//
// A read that is under way when its object is called back has its pages locked in the kernel, which
// forgets them when they have come.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "fid/fid.h"
#include "layout/layout.h"

namespace sheen::client {

class PageRegistry final {
 public:
  // Beyond it the oldest of files that are not open are given up.
  static constexpr size_t kObjectsMax = 65536;

  struct Entry {
    uint64_t id = 0;
    uint64_t session = 0;  // of the OSS
    uint32_t ost = 0;
    layout::ObjectId object;
    Fid fid;  // the file's; objects have had another's before a migration
    bool known = false;
  };

  // To ask with: an entry's id, one from `new_id`, higher than all before, if it has none yet. 0:
  // the OSS knows already, in this session.
  uint64_t Ask(const Entry& wanted, const std::function<uint64_t()>& new_id);
  // The same for a write: 0 also while nothing of the object was read by this mount. Mounts that
  // only write an object need not be called back for what each other's writes leave.
  uint64_t AskToWrite(const Entry& wanted, const std::function<uint64_t()>& new_id);
  void Known(uint64_t id);
  // Takes it out. nullopt: it is there no more.
  std::optional<Entry> TakeCalled(uint64_t id);
  // All that these OSTs know.
  std::vector<Entry> TakeOf(const std::set<uint32_t>& osts);
  // Nothing while there is room; else up to `count` of the oldest, as `may_go` allows.
  std::vector<Entry> TakeSurplus(size_t count, const std::function<bool(const Fid&)>& may_go,
                                 size_t objects_max = kObjectsMax);
  size_t size() const;

 private:
  using Key = std::pair<uint32_t, layout::ObjectId>;
  uint64_t AskLocked(const Entry& wanted, const std::function<uint64_t()>& new_id);
  Entry TakeLocked(std::map<uint64_t, Entry>::iterator found);

  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, Entry> entries_;  // by id: the oldest first
  std::map<Key, uint64_t> ids_;
  std::set<Key> read_;  // at some time; at most kObjectsMax
};

}  // namespace sheen::client
