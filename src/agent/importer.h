// Importer: one import of a data repository: everything below its prefix becomes names in the
// filesystem, metadata only.
//
//   pages of the listing -> entries -> HEAD of each (many at a time) -> batches -> the MDS
//
// Shard-confined: construct and Run on one shard, once; Progress() there too.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/links.h"
#include "async/sync.h"
#include "s3/key_digest.h"
#include "s3/lister.h"
#include "sheen/v1/control.pb.h"

namespace sheen::agent {

// Hands a batch to the MDS; blocks: called on the pool.
using ImportFunction =
    std::function<Result<v1::ImportEntriesReply>(const v1::ImportEntriesRequest&)>;

struct ImporterOptions {
  LinkPointer link;
  ImportFunction import;
  async::BlockingPool* pool = nullptr;
  bool head = true;
  uint32_t list_concurrency = 8;
  uint64_t heads_max = 48;    // requests at a time
  uint64_t batches_max = 4;
};

class Importer final : public s3::ListSink {
 public:
  explicit Importer(ImporterOptions options)
      : options_(std::move(options)), heads_(options_.heads_max), batches_(options_.batches_max) {}

  async::Task<void> Run();
  // With `all`: every failure, else none.
  v1::ImportProgress Progress(bool all) const;
  void Cancel() { stop_.Cancel(); }

  // s3::ListSink
  async::Task<Status> Take(std::vector<s3::ListEntry> entries) override;

 private:
  struct Item {
    v1::ImportEntry entry;
    Status status;
  };
  async::Task<Status> Complete(Item* item);
  async::Task<Status> Send(std::vector<Item>* items);
  void NoteFailure(const std::string& key, const std::string& reason);
  // Empty: the listing and what became of its keys agree.
  std::string CheckProof() const;

  const ImporterOptions options_;
  async::Semaphore heads_;
  async::Semaphore batches_;
  s3::Cancellation stop_;
  s3::KeyDigest listed_;
  s3::KeyDigest finished_;
  s3::KeyDigest failed_;
  v1::ImportProgress progress_;
  std::vector<v1::ImportFailure> failures_;
  Nanos began_{0};
};

}  // namespace sheen::agent
