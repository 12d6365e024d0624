// Importer: one import of a data repository: everything below its prefix becomes names in the
// filesystem, metadata only.
//
//   pages of the listing -> entries -> the MDS, which names what is new at once; these names are
//     pending. Of what has changed since: HEAD, many at a time -> batches -> the MDS
//   then (importer_finish.cc) the MDS's pending names -> HEAD of each -> batches -> the MDS
//
// With an MDS that knows no pending names, each is asked for before it gets its name.
//
// And, if asked for, the other way round after a listing that was whole (importer_sweep.cc):
//
//   names that imports have made (the MDS) -> not listed? -> HEAD: gone? -> the MDS drops them
//
// Shard-confined: construct and Run on one shard, once; Progress() there too.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/links.h"
#include "agent/listed_keys.h"
#include "async/sync.h"
#include "s3/key_digest.h"
#include "s3/lister.h"
#include "sheen/v1/control.pb.h"

namespace sheen::agent {

// What is asked of the MDS. They block: called on the pool.
struct ImportCalls {
  std::function<Result<v1::ImportEntriesReply>(const v1::ImportEntriesRequest&)> import;
  std::function<Result<v1::ListImportedReply>(const v1::ListImportedRequest&)> list;
  std::function<Result<v1::DropDeletedReply>(const v1::DropDeletedRequest&)> drop;
  // Both or none; none: nothing is pending.
  std::function<Result<v1::ListPendingReply>(const v1::ListPendingRequest&)> pending;
  std::function<Result<v1::FinishPendingReply>(const v1::FinishPendingRequest&)> finish;
};

inline constexpr uint32_t kImportDefault = v1::IMPORT_NEW | v1::IMPORT_CHANGED;

struct ImporterOptions {
  LinkPointer link;
  ImportCalls mds;
  async::BlockingPool* pool = nullptr;
  bool head = true;
  uint32_t what = kImportDefault;  // v1::ImportPolicy bits
  bool remove = false;             // instead: names that S3 has just as they are here go
  uint32_t list_concurrency = 8;
  uint64_t batches_max = 4;
};

class Importer final : public s3::ListSink {
 public:
  explicit Importer(ImporterOptions options)
      : options_(std::move(options)),
        heads_(options_.link->heads_max),
        batches_(options_.batches_max) {}

  async::Task<void> Run();
  v1::ImportProgress Progress() const;
  // Failures from number `from` on, as many as an answer may hold.
  void AddFailures(uint64_t from, v1::ImportProgress* out) const;
  // A few of them, for who looks on.
  void AddFirstFailures(v1::ImportProgress* out) const;
  void Cancel() { stop_.Cancel(); }

  // s3::ListSink
  async::Task<Status> Take(std::vector<s3::ListEntry> entries) override;

 private:
  struct Item {
    v1::ImportEntry entry;
    Status status;
  };
  bool Wants(uint32_t what) const { return (options_.what & what) != 0; }
  v1::ImportEntriesRequest NewRequest() const;
  // Names what is new, and leaves what has changed.
  async::Task<Status> Name(std::vector<Item>* items);
  // Leaves those that are new or changed.
  async::Task<Status> Probe(std::vector<Item>* items);
  async::Task<Status> Complete(Item* item);
  async::Task<Status> Send(std::vector<Item>* items);
  void Note(const v1::ImportEntriesRequest& request, const v1::ImportEntriesReply& reply);
  async::Task<bool> KnowsPending();
  // The second step.
  async::Task<Status> FinishAll();
  struct Cursor;
  async::Task<Status> FinishSome(Cursor* cursor);
  async::Task<Status> FinishPage(const v1::ListPendingReply* page);
  async::Task<v1::ObjectAnswer> AskPending(std::string key);
  // Until the MDS answers, or was away for too long.
  template <class Request, class Reply>
  async::Task<Result<Reply>> Ask(const std::function<Result<Reply>(const Request&)>* call,
                                 const Request* request);
  // Names below `directory`, whose keys begin with `prefix`.
  async::Task<Status> Sweep(v1::Fid directory, std::string prefix);
  async::Task<Status> DropOf(const v1::Fid* directory, std::vector<v1::ImportedEntry> missing);
  // S3 says so of this very key. Another answer is a failure.
  enum class Gone : uint8_t { kNo, kYes };
  async::Task<Gone> IsGone(std::string key);
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
  ListedKeys listed_keys_;  // with v1::IMPORT_DELETED
  v1::ImportProgress progress_;
  std::vector<v1::ImportFailure> failures_;
  Nanos began_{0};
  bool two_steps_ = false;
};

}  // namespace sheen::agent
