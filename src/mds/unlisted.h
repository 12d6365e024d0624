// Unlisted repositories: those that were linked to be imported, and of which no import has named
// all keys yet. A name that is not here may be in S3: who looks for one has S3 asked (questions.h).
//
//   lookup of "b" in /data/a -> no such name -> key "prefix/a/b" -> [agent: HEAD, or a listing of
//   one key below it] -> made, or there is none
//
// No absence in such a directory is granted to clients, so that none is kept; that S3 does not have
// a name is taken for true for kAbsentFor. What is taken away here while S3 still has it is noted,
// and does not come back, nor what is below it: neither by a lookup, nor by the import that is
// under way. Directories that people make were not in S3 when they were made.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "mdt/mdt.h"
#include "mdt/records.h"

namespace sheen::mds {

struct OpContext;

// Thread-safe.
class UnlistedLinks final {
 public:
  struct Link {
    Fid directory;
    std::string prefix;
  };
  // Programs look for the same absent name again and again.
  static constexpr Nanos kAbsentFor = std::chrono::seconds(5);
  static constexpr size_t kAbsentMax = 10'000;  // of a link; more are asked for each time

  // Reads the rows. Blocks.
  Status Load(mdt::Mdt* mdt);
  void Set(uint32_t id, Link link);
  void Remove(uint32_t id);
  bool any() const { return any_.load(std::memory_order_acquire); }
  std::optional<Link> Find(uint32_t id) const;
  // 0: none is linked to it.
  uint32_t LinkedTo(const Fid& directory) const;
  std::vector<uint32_t> All() const;
  // S3 does not have the key.
  void NoteAbsent(uint32_t id, const std::string& key, Nanos now);
  bool IsAbsent(uint32_t id, const std::string& key, Nanos now) const;

 private:
  std::atomic<bool> any_{false};
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<uint32_t, Link> links_;
  std::map<uint32_t, std::unordered_map<std::string, Nanos>> absent_;  // and until when
};

// What of S3 a name stands for that is not in its directory.
struct UnlistedName {
  uint32_t link = 0;
  std::string key;
};
// nullopt: S3 need not be asked.
Result<std::optional<UnlistedName>> FindUnlisted(OpContext* context, const Fid& parent,
                                                 const mdt::Inode& directory,
                                                 std::string_view name);
// A client takes a name of the inode away, or gives it to another. What the server itself drops
// is gone from S3, and comes back with it.
Status NoteTakenAway(OpContext* context, const mdt::Inode& inode);
// Whether the name of `key` was taken away here.
Result<bool> WasTakenAway(const OpContext& context, uint32_t link, std::string_view key);

}  // namespace sheen::mds
