#include "agent/agent_service.h"

#include <fmt/format.h>

#include "async/shard.h"
#include "base/log.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::agent {
namespace {

constexpr Nanos kStopLook = std::chrono::milliseconds(10);
// Of ended imports; older ones are forgotten.
constexpr size_t kImportsMax = 64;

}  // namespace

AgentService::AgentService(AgentOptions options)
    : options_(std::move(options)), links_(&http_, options_.pool) {}

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
  SHEEN_CO_TRY_ASSIGN(const LinkPointer link, co_await LinkOf(body.link()));
  rpc::Response response;
  response.bulk = io::Buffer::Allocate(body.length());
  s3::GetRangeRequest range{.key = body.key(),
                            .offset = body.offset(),
                            .size = body.length(),
                            .etag = body.etag()};
  if (body.prefetch()) range.call.priority = s3::Priority::kPrefetch;
  const auto got = co_await link->client.GetRange(std::move(range), response.bulk.span());
  if (!got) {
    // After one HEAD it is sure that the object is not the one that was imported.
    const bool other = got.error().code() == Errc::kStale || got.error().code() == Errc::kNoEntry ||
                       got.error().code() == Errc::kRange;
    if (!other) co_return std::unexpected(got.error());
    const auto info = co_await link->client.Head({.key = body.key()});
    const bool same = info && info->etag == body.etag();
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

async::Task<Result<v1::StartImportReply>> AgentService::StartImport(
    v1::StartImportRequest request) {
  SHEEN_CO_TRY_ASSIGN(const LinkPointer link, co_await LinkOf(request.repository()));
  for (auto at = imports_.begin(); imports_.size() >= kImportsMax && at != imports_.end();) {
    at = at->second->Progress(false).done() ? imports_.erase(at) : std::next(at);
  }
  if (imports_.size() >= kImportsMax) {
    co_return Fail(Errc::kBusy, "too many imports are under way; wait for one to end");
  }
  const uint64_t task = next_task_++;
  imports_[task] = std::make_unique<Importer>(ImporterOptions{.link = link,
                                                              .import = options_.import,
                                                              .pool = options_.pool,
                                                              .head = !request.no_head()});
  async::Shard::Current()->Spawn(imports_[task]->Run());
  v1::StartImportReply reply;
  reply.set_task(task);
  co_return reply;
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
  v1::ImportProgress progress = import->Progress(false);
  if (progress.done()) progress = import->Progress(true);
  co_return progress;
}

async::Task<Result<v1::ImportProgress>> AgentService::CancelImport(v1::GetImportRequest request) {
  SHEEN_CO_TRY_ASSIGN(Importer * import, ImportOf(request.task()));
  import->Cancel();
  co_return import->Progress(false);
}

async::Task<void> AgentService::Stop() {
  for (const auto& [task, import] : imports_) import->Cancel();
  for (const auto& [task, import] : imports_) {
    while (!import->Progress(false).done()) co_await async::Shard::Current()->Sleep(kStopLook);
  }
}

}  // namespace sheen::agent
