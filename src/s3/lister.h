// Lists everything below a prefix with many requests at once, every key exactly once, in any order.
//
//   Lister lister(&client, {.prefix = "data/", .concurrency = 16});
//   const Result<ListSummary> all = co_await lister.Run(&sink);
//
// A listing is sequential by nature: each page begins where the last one ended. So the space of
// keys is cut into ranges (after, end], each listed by one worker; a worker that has nothing to do
// cuts the range of another, which then ends at the cut:
//
//   one worker   |-- listed --> after ................................... end
//   then two     |-- listed --> after .......... cut = end | after = cut ... end
//
// A cut is good when keys lie behind it, which a probe (one key after the cut) tells; an empty
// probe still moves the end of the range to the cut. Candidates: behind all keys that share the
// first n characters with the last one listed (n found by bisection: few probes whatever the keys'
// common beginning), then half-way between there and the end. No cut can lose or double a key,
// however the keys lie: a page is used as far as the range reaches when the page is there.
//
// Objects that come or go while it runs may be listed or not, the others always are.
//
// Shard-confined: construct and Run on one shard, once.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "s3/client.h"
#include "s3/key_digest.h"
#include "s3/object.h"
#include "sheen/result.h"

namespace sheen::s3 {

struct ListerOptions {
  std::string prefix;
  std::string start_after;   // keys behind this one only
  uint32_t concurrency = 16;
  uint32_t page_keys = 1000;
  CallOptions call{.priority = Priority::kPrefetch};
};

struct ListSummary {
  KeyDigest digest;     // of all keys given to the sink
  uint64_t bytes = 0;   // sum of the objects' sizes
  uint64_t pages = 0;
  uint64_t probes = 0;
  uint64_t cuts = 0;
};

// Takes pages. Several calls may be under way at once, on the shard of the listing; a worker goes
// on when its call is through.
class ListSink {
 public:
  virtual ~ListSink() = default;
  virtual async::Task<Status> Take(std::vector<ListEntry> entries) = 0;
};

class Lister final {
 public:
  Lister(Client* client, ListerOptions options)
      : client_(client), options_(std::move(options)) {}

  // Errors: those of Client::List and of the sink; the first one ends everything.
  async::Task<Result<ListSummary>> Run(ListSink* sink);

 private:
  // Keys in (after, end]. `end` nullopt: to the last key of the prefix.
  struct Range {
    std::string after;
    std::optional<std::string> end;
    uint64_t pages = 0;
    uint64_t cut_from_page = 1;  // not to be cut before
    bool being_cut = false;
    bool done = false;
  };
  enum class Probed : uint8_t { kKeysBehind, kNothingBehind, kPassed, kFailed };

  async::Task<Status> Work();
  async::Task<void> ListRange(Range* range);
  bool UsePage(Range* range, ListPage* page);
  Range* Victim();
  async::Task<void> Cut(Range* range);
  async::Task<std::optional<std::string>> FindCut(Range* range);
  async::Task<std::optional<std::string>> FindBeginning(Range* range);
  async::Task<Probed> Probe(Range* range, std::string cut);
  void SplitAt(Range* range, const std::string& cut);
  void Failed(Error error);
  void Changed() { changed_.WakeAll(async::Shard::Current()); }

  Client* const client_;
  const ListerOptions options_;
  ListSink* sink_ = nullptr;
  std::list<Range> ranges_;      // all that are not done
  std::deque<Range*> unstarted_;
  std::vector<Range*> listed_;   // being listed
  uint32_t cutting_ = 0;
  async::WaitQueue changed_;
  std::optional<Error> error_;
  ListSummary summary_;
};

}  // namespace sheen::s3
