// The second step of an import: owner, mode and type of the names that the first has made, or an
// earlier import that did not come to its end. Page by page of what the MDS says is pending; a few
// pages at a time, so that HEADs are always under way. What somebody looks at meanwhile the MDS has
// asked for at once (AgentService::AskObjects), and it is not on the list any more.
#include "agent/ask_object.h"
#include "agent/importer_ask.h"

namespace sheen::agent {
namespace {

constexpr size_t kPagesAtATime = 4;
constexpr uint32_t kNamesPerPage = 500;

}  // namespace

struct Importer::Cursor {
  async::Semaphore turn{1};
  v1::ListPendingRequest look;
  bool end = false;
};

// An older MDS has names only with all of their attributes.
async::Task<bool> Importer::KnowsPending() {
  if (!options_.mds.pending) co_return false;
  v1::ListPendingRequest look;
  look.set_repository(options_.link->repository.id());
  look.set_names_max(1);
  const auto page = co_await Ask(&options_.mds.pending, &look);
  co_return page || page.error().code() != Errc::kNotSupported;
}

async::Task<v1::ObjectAnswer> Importer::AskPending(std::string key) {
  co_await heads_.Acquire(1);
  v1::ObjectAnswer answer =
      co_await AskObject(options_.link.get(), {.stop = &stop_}, std::move(key));
  heads_.Release(async::Shard::Current(), 1);
  progress_.set_asked(progress_.asked() + 1);
  co_return answer;
}

async::Task<Status> Importer::FinishPage(const v1::ListPendingReply* page) {
  std::vector<async::Task<v1::ObjectAnswer>> tasks;
  for (const v1::PendingName& name : page->names()) tasks.push_back(AskPending(name.key()));
  std::vector<v1::ObjectAnswer> answers = co_await async::WhenAll(std::move(tasks));
  if (stop_.cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
  v1::FinishPendingRequest request;
  request.set_repository(options_.link->repository.id());
  for (size_t i = 0; i < answers.size(); ++i) {
    const v1::PendingName& name = page->names(static_cast<int>(i));
    if (!answers[i].error().empty()) {
      NoteFailure(name.key(), "owner and mode are not known yet: " + answers[i].error());
      continue;
    }
    v1::PendingAnswer* const answer = request.add_answers();
    *answer->mutable_fid() = name.fid();
    answer->set_key(name.key());
    answer->set_etag(name.etag());
    answer->set_modified_ns(name.modified_ns());
    *answer->mutable_answer() = std::move(answers[i]);
  }
  if (request.answers_size() == 0) co_return Status();
  const auto reply = co_await Ask(&options_.mds.finish, &request);
  if (!reply) co_return std::unexpected(reply.error());
  for (const v1::ImportFailure& failure : reply->failures()) {
    NoteFailure(failure.key(), failure.reason());
  }
  progress_.set_deleted(progress_.deleted() + reply->dropped());
  co_return Status();
}

async::Task<Status> Importer::FinishSome(Cursor* cursor) {
  async::Shard* const shard = async::Shard::Current();
  for (;;) {
    co_await cursor->turn.Acquire(1);
    if (cursor->end || stop_.cancelled()) {
      cursor->turn.Release(shard, 1);
      co_return stop_.cancelled() ? Status(Fail(Errc::kCancelled, "cancelled")) : Status();
    }
    const auto page = co_await Ask(&options_.mds.pending, &cursor->look);
    cursor->end = !page || page->end();
    if (page) cursor->look.set_after(page->next());
    if (page && progress_.pending() == 0) progress_.set_pending(page->total());
    cursor->turn.Release(shard, 1);
    if (!page) co_return std::unexpected(page.error());
    SHEEN_CO_TRY(co_await FinishPage(&*page));
  }
}

async::Task<Status> Importer::FinishAll() {
  Cursor cursor;
  cursor.look.set_repository(options_.link->repository.id());
  cursor.look.set_names_max(kNamesPerPage);
  std::vector<async::Task<Status>> tasks;
  for (size_t i = 0; i < kPagesAtATime; ++i) tasks.push_back(FinishSome(&cursor));
  for (const Status& one : co_await async::WhenAll(std::move(tasks))) SHEEN_CO_TRY(one);
  co_return Status();
}

}  // namespace sheen::agent
