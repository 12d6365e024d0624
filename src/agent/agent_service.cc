#include "agent/agent_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "agent/ask_object.h"
#include "async/shard.h"
#include "base/log.h"

namespace sheen::agent {
namespace {

constexpr Nanos kStopLook = std::chrono::milliseconds(10);
// Of ended imports; older ones are forgotten.
constexpr size_t kImportsMax = 64;
constexpr int kKeysMax = 10'000;

// What S3's answers, or none, mean after all retries: nothing is known of the object.
bool AwayForTooLong(Errc code) {
  switch (code) {
    case Errc::kUnavailable:
    case Errc::kTimedOut:
    case Errc::kDisconnected:
    case Errc::kConnectionRefused:
      return true;
    default:
      return false;
  }
}

}  // namespace

AgentService::AgentService(AgentOptions options)
    : options_(std::move(options)), links_(&http_, options_.pool, options_.s3_timeout) {}

AgentService::~AgentService() = default;

async::Task<Result<LinkPointer>> AgentService::LinkOf(uint32_t id) {
  if (LinkPointer link = links_.Find(id)) co_return link;
  std::function<Result<v1::ListRepositoriesReply>()> ask = options_.refresh;
  const auto all = co_await options_.pool->Run<Result<v1::ListRepositoriesReply>>(std::move(ask));
  if (!all) co_return std::unexpected(all.error());
  links_.Set(*all);
  if (LinkPointer link = links_.Find(id)) co_return link;
  co_return Fail(Errc::kNoEntry,
                 fmt::format("data repository {} was removed; its files' data cannot be had", id));
}

async::Task<Result<rpc::Response>> AgentService::Fetch(const rpc::Request* request) {
  v1::AgentFetchRequest body;
  if (!body.ParseFromString(request->body)) co_return Fail(Errc::kProtocol, "a bad fetch request");
  if (body.length() == 0 || body.length() > rpc::kBulkBytesMax) {
    co_return Fail(Errc::kInvalid, fmt::format("a fetch of {} bytes", body.length()));
  }
  if (!body.prefetch()) co_return co_await FetchRange(&body, nullptr);
  s3::Haste haste;
  decltype(prefetches_)::iterator place;
  {
    const std::scoped_lock lock(mutex_);
    place = prefetches_.emplace(RangeKey(body.link(), body.key(), body.offset()), &haste);
  }
  Result<rpc::Response> response = co_await FetchRange(&body, &haste);
  const std::scoped_lock lock(mutex_);
  prefetches_.erase(place);
  co_return response;
}

Result<rpc::Response> AgentService::Hasten(const rpc::Request& request) {
  v1::AgentHastenRequest body;
  if (!body.ParseFromString(request.body)) return Fail(Errc::kProtocol, "a bad hasten request");
  {
    // They live as long as they are in the list.
    const std::scoped_lock lock(mutex_);
    const auto [begin, end] =
        prefetches_.equal_range(RangeKey(body.link(), body.key(), body.offset()));
    for (auto at = begin; at != end; ++at) at->second->Hasten();
  }
  rpc::Response response;
  response.body = v1::AgentHastenReply().SerializeAsString();
  return response;
}

async::Task<Result<rpc::Response>> AgentService::FetchRange(const v1::AgentFetchRequest* request,
                                                            s3::Haste* haste) {
  const v1::AgentFetchRequest& body = *request;
  SHEEN_CO_TRY_ASSIGN(const LinkPointer link, co_await LinkOf(body.link()));
  if (!body.key().starts_with(link->repository.prefix())) {
    co_return Fail(Errc::kAccess,
                   fmt::format("'{}' is not below the prefix '{}' of data repository {}",
                               body.key(), link->repository.prefix(), body.link()));
  }
  if (!s3::IsETag(body.etag())) co_return Fail(Errc::kInvalid, "an ETag that cannot be");
  rpc::Response response;
  response.bulk = io::Buffer::Allocate(body.length());
  s3::GetRangeRequest range{.key = body.key(),
                            .offset = body.offset(),
                            .size = body.length(),
                            .etag = body.etag()};
  if (body.prefetch()) {
    range.call.priority = body.ahead() ? s3::Priority::kAhead : s3::Priority::kPrefetch;
  }
  range.call.haste = haste;
  const auto got = co_await link->client.GetRange(std::move(range), response.bulk.span());
  if (!got) {
    // After one HEAD it is sure that the object is not the one that was imported.
    const bool other = got.error().code() == Errc::kStale || got.error().code() == Errc::kNoEntry ||
                       got.error().code() == Errc::kRange;
    if (!other && AwayForTooLong(got.error().code())) {
      // Not the way from the OSS to here: asking again, or another agent, does not help.
      co_return Fail(Errc::kAgain, got.error().ToString());
    }
    if (!other) co_return std::unexpected(got.error());
    const auto info = co_await link->client.Head({.key = body.key()});
    const bool same = info && info->etag == body.etag();
    const bool unknown = !info && info.error().code() != Errc::kNoEntry;
    if (unknown && AwayForTooLong(info.error().code())) {
      co_return Fail(Errc::kAgain, info.error().ToString());
    }
    if (unknown) co_return std::unexpected(info.error());
    co_return Fail(same ? Errc::kIo : got.error().code(),
                   fmt::format("s3://{}/{} {} since it was imported; import it again: {}",
                               link->repository.bucket(), body.key(),
                               info ? "was changed" : "is gone", got.error().message()));
  }
  fetches_.fetch_add(1, std::memory_order_relaxed);
  fetched_bytes_.fetch_add(body.length(), std::memory_order_relaxed);
  response.body = v1::AgentFetchReply().SerializeAsString();
  co_return std::move(response);
}

async::Task<rpc::Response> AgentService::Handle(rpc::Request request) {
  if (request.header.opcode == rpc::Opcode::kAgentHasten) {
    Result<rpc::Response> hastened = Hasten(request);
    co_return hastened ? std::move(*hastened) : rpc::Response::Of(hastened.error());
  }
  if (request.header.opcode != rpc::Opcode::kAgentFetch) {
    co_return rpc::Response::Of(
        Error(Errc::kNoSys, std::string(rpc::NameOf(request.header.opcode)) +
                                " is no request for an agent"));
  }
  const Nanos began = async::Shard::Current()->Now();
  Result<rpc::Response> response = co_await Fetch(&request);
  const Nanos took = async::Shard::Current()->Now() - began;
  const auto micros = static_cast<uint64_t>(took / std::chrono::microseconds(1));
  operations_.Record(response ? 0 : 1, micros);
  if (response) operations_.Record(2, response->bulk.size());
  if (!response) co_return rpc::Response::Of(response.error());
  co_return std::move(*response);
}

async::Task<Result<v1::CheckRepositoryReply>> AgentService::CheckRepository(
    v1::CheckRepositoryRequest request) {
  const LinkPointer link = links_.Make(request.repository());
  SHEEN_CO_TRY_ASSIGN(const s3::BucketInfo info, co_await link->client.CheckBucket());
  // Keys that may look at the bucket may still not list it.
  s3::ListRequest list{.prefix = request.repository().prefix(), .keys_max = 1};
  SHEEN_CO_TRY(co_await link->client.List(std::move(list)));
  SHEEN_CO_TRY_ASSIGN(const s3::Credentials keys, co_await link->credentials.Get());
  v1::CheckRepositoryReply reply;
  reply.set_region(info.region);
  reply.set_keys_from(keys.source);
  co_return reply;
}

Result<uint64_t> AgentService::Begin(ImporterOptions options) {
  for (auto at = imports_.begin(); imports_.size() >= kImportsMax && at != imports_.end();) {
    // Its end is still to be told.
    const bool ordered = std::ranges::any_of(
        ordered_, [at](const auto& order) { return order.second == at->first; });
    at = at->second->Progress().done() && !ordered ? imports_.erase(at) : std::next(at);
  }
  if (imports_.size() >= kImportsMax) {
    return Fail(Errc::kBusy, "too many imports are under way; wait for one to end");
  }
  const uint64_t task = next_task_++;
  options.mds = options_.mds;
  options.pool = options_.pool;
  imports_[task] = std::make_unique<Importer>(std::move(options));
  async::Shard::Current()->Spawn(imports_[task]->Run());
  return task;
}

async::Task<Result<v1::StartImportReply>> AgentService::StartImport(
    v1::StartImportRequest request) {
  SHEEN_CO_TRY_ASSIGN(LinkPointer link, co_await LinkOf(request.repository()));
  ImporterOptions options;
  options.link = std::move(link);
  options.head = !request.no_head();
  if (request.what() != 0) options.what = request.what();
  options.remove = request.remove();
  SHEEN_CO_TRY_ASSIGN(const uint64_t task, Begin(std::move(options)));
  v1::StartImportReply reply;
  reply.set_task(task);
  co_return reply;
}

std::vector<v1::ImportReport> AgentService::ReportImports() const {
  std::vector<v1::ImportReport> out;
  for (const auto& [repository, task] : ordered_) {
    const Importer& import = *imports_.at(task);
    v1::ImportReport& report = out.emplace_back();
    report.set_repository(repository);
    *report.mutable_progress() = import.Progress();
    if (report.progress().done()) import.AddFirstFailures(report.mutable_progress());
  }
  return out;
}

// Nobody wants them any more, and who removes the link waits for their end.
void AgentService::CancelUnordered(const v1::ListRepositoriesReply& all) {
  std::set<uint32_t> wanted;
  for (const v1::Repository& repository : all.repositories()) {
    if (repository.import_every_s() != 0) wanted.insert(repository.id());
  }
  for (const auto& [id, task] : ordered_) {
    if (!wanted.contains(id)) imports_.at(task)->Cancel();
  }
}

void AgentService::BeginDue(const v1::ListRepositoriesReply& all,
                            const std::vector<v1::ImportReport>& told) {
  for (const v1::ImportReport& report : told) {
    const auto ended = ordered_.find(report.repository());
    if (!report.progress().done() || ended == ordered_.end()) continue;
    imports_.erase(ended->second);
    ordered_.erase(ended);
  }
  if (stopping_) return;
  CancelUnordered(all);
  for (const uint32_t id : all.imports_due()) {
    const LinkPointer link = links_.Find(id);
    if (link == nullptr || ordered_.contains(id)) continue;
    const v1::Repository& repository = link->repository;
    ImporterOptions options;
    options.link = link;
    options.head = !repository.no_head();
    options.what = repository.import_what();
    const Result<uint64_t> task = Begin(std::move(options));
    if (task) {
      ordered_[id] = *task;
      not_begun_.erase(id);
    } else if (not_begun_.insert(id).second) {
      SHEEN_LOG(Warn, "{} is not compared with S3 now: {}", repository.path(),
                task.error().ToString());
    }
  }
}

Result<Importer*> AgentService::ImportOf(uint64_t task) {
  const auto found = imports_.find(task);
  if (found != imports_.end()) return found->second.get();
  return Fail(Errc::kNoEntry, fmt::format("import {} is not known: this agent was started again "
                                          "since; import again, what is done stays done",
                                          task));
}

async::Task<Result<v1::ImportProgress>> AgentService::GetImport(v1::GetImportRequest request) {
  SHEEN_CO_TRY_ASSIGN(const Importer* import, ImportOf(request.task()));
  v1::ImportProgress progress = import->Progress();
  if (progress.done()) import->AddFailures(request.failures_from(), &progress);
  co_return progress;
}

async::Task<Result<v1::ImportProgress>> AgentService::CancelImport(v1::GetImportRequest request) {
  SHEEN_CO_TRY_ASSIGN(Importer * import, ImportOf(request.task()));
  import->Cancel();
  co_return import->Progress();
}

async::Task<Result<v1::AskObjectsReply>> AgentService::AskObjects(v1::AskObjectsRequest request) {
  if (request.keys_size() > kKeysMax) co_return Fail(Errc::kInvalid, "too many keys at a time");
  SHEEN_CO_TRY_ASSIGN(const LinkPointer link, co_await LinkOf(request.repository()));
  for (const std::string& key : request.keys()) {
    if (key.starts_with(link->repository.prefix())) continue;
    co_return Fail(Errc::kAccess, fmt::format("'{}' is not below the prefix '{}'", key,
                                              link->repository.prefix()));
  }
  if (stopping_) co_return Fail(Errc::kUnavailable, "the agent is stopping");
  // Who has asked waits no longer than this: neither do his requests. Shared, since the last of
  // them may end this call while they are being ended.
  const auto stop = std::make_shared<s3::Cancellation>();
  const s3::Cancellation::Registration registration(&questions_, [stop] { stop->Cancel(); });
  async::Shard* const shard = async::Shard::Current();
  std::optional<async::TimerId> timer;
  if (request.patience_ms() != 0) {
    const Nanos until = shard->Now() + std::chrono::milliseconds(request.patience_ms());
    timer = shard->AddTimer(until, [stop] { stop->Cancel(); });
  }
  std::vector<async::Task<v1::ObjectAnswer>> tasks;
  for (const std::string& key : request.keys()) {
    const s3::CallOptions call{.stop = stop.get()};
    tasks.push_back(request.names() ? FindObject(link.get(), call, key)
                                    : AskObject(link.get(), call, key));
  }
  std::vector<v1::ObjectAnswer> answers = co_await async::WhenAll(std::move(tasks));
  if (timer) shard->CancelTimer(*timer);
  // What was cancelled is not S3's word.
  if (stopping_) co_return Fail(Errc::kUnavailable, "the agent is stopping");
  v1::AskObjectsReply reply;
  reply.set_names(request.names());
  for (v1::ObjectAnswer& answer : answers) *reply.add_answers() = std::move(answer);
  co_return reply;
}

async::Task<void> AgentService::Stop() {
  stopping_ = true;
  questions_.Cancel();
  for (const auto& [task, import] : imports_) import->Cancel();
  for (const auto& [task, import] : imports_) {
    while (!import->Progress().done()) co_await async::Shard::Current()->Sleep(kStopLook);
  }
}

}  // namespace sheen::agent
