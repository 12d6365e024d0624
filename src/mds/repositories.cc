#include "mds/repositories.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

constexpr int kEntriesPerRequestMax = 10'000;
// See docs/formats: inode numbers have 24 bits for it.
constexpr uint32_t kOidMax = (1U << 24) - 1;
constexpr Nanos kRecoveryLook = std::chrono::milliseconds(50);
// Keys have 1024 bytes at most; what people have made below may be deeper, for a while.
constexpr size_t kPathBytesMax = 64 << 10;
constexpr uint32_t kTypeDirectory = DT_DIR;

// "/a/b" of "/a//b/"; empty when it is no path.
std::string Normal(const std::string& path) {
  if (!path.starts_with('/')) return {};
  std::string out;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "." || part == "..") return {};
    if (!part.empty()) out += "/" + part;
    at = end + 1;
  }
  return out.empty() ? "/" : out;
}

}  // namespace

std::vector<v1::AgentEntry> Repositories::Agents() const {
  const Nanos now = core_->Now();
  const std::scoped_lock lock(mutex_);
  std::vector<v1::AgentEntry> out;
  for (const auto& [name, heard] : agents_) {
    if (now - heard.at < kAgentTimeout) out.push_back(heard.agent);
  }
  return out;
}

async::Task<Result<Fid>> Repositories::NewFid() {
  for (;;) {
    {
      const std::scoped_lock lock(mutex_);
      if (next_fid_ && next_fid_->oid <= kOidMax) {
        const Fid fid = *next_fid_;
        ++next_fid_->oid;
        co_return fid;
      }
    }
    SHEEN_CO_TRY_ASSIGN(const std::string reply, co_await AskInternal(core_, &TakeSequence, {}));
    const std::scoped_lock lock(mutex_);
    if (!next_fid_ || next_fid_->oid > kOidMax) next_fid_ = Fid{LoadBig64(reply.data()), 1, 0};
  }
}

async::Task<void> Repositories::WaitForClients() {
  while (core_->recovery.Active(core_->Now())) {
    co_await async::Shard::Current()->Sleep(kRecoveryLook);
  }
}

async::Task<Status> Repositories::EndUnlisted(uint32_t id) {
  if (!core_->unlisted.Find(id)) co_return Status();
  v1::ImportEntriesRequest named;
  named.set_repository(id);
  SHEEN_CO_TRY(co_await AskInternal(core_, &mds::EndUnlisted, named.SerializeAsString()));
  core_->unlisted.Remove(id);
  co_return Status();
}

async::Task<Result<Fid>> Repositories::EnsureDirectory(std::string path,
                                                       Directories* directories) {
  Fid at = directories->base;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string so_far = path.substr(0, end);
    const auto found = directories->known.find(so_far);
    if (found != directories->known.end()) {
      at = found->second;
    } else {
      v1::ImportOrder order;
      SetFid(at, order.mutable_parent());
      order.set_name(path.substr(begin, end - begin));
      order.set_directory_only(true);
      if (const v1::Repository* repository = directories->repository) {
        order.set_repository(repository->id());
        order.set_pending(directories->pending);
        order.mutable_entry()->set_key(repository->prefix() + so_far + "/");
      }
      SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await NewFid());
      SetFid(fid, order.mutable_fid());
      SHEEN_CO_TRY_ASSIGN(const std::string reply,
                          co_await AskInternal(core_, &ImportEntry, order.SerializeAsString()));
      v1::ImportOutcome outcome;
      if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
      if (outcome.what() == v1::IMPORT_SKIPPED) co_return Fid();
      at = FidOf(outcome.fid());
      directories->known[so_far] = at;
    }
    begin = end + 1;
  }
  co_return at;
}

async::Task<Result<v1::AddRepositoryReply>> Repositories::AddRepository(
    v1::AddRepositoryRequest request) {
  v1::Repository& wanted = *request.mutable_repository();
  const std::string path = Normal(wanted.path());
  if (path.empty()) {
    co_return Fail(Errc::kInvalid, fmt::format("'{}' is no path in the filesystem; it begins with "
                                               "'/' and has no '.' and '..'",
                                               wanted.path()));
  }
  const bool open_end = !wanted.prefix().empty() && !wanted.prefix().ends_with('/');
  if (open_end) wanted.mutable_prefix()->append("/");
  if (wanted.chunk_bytes() == 0) wanted.set_chunk_bytes(1 << 30);
  wanted.set_path(path);
  wanted.clear_directory();
  co_await WaitForClients();
  // Before anything is made.
  SHEEN_CO_TRY(co_await AskInternal(core_, &mds::AddRepository, request.SerializeAsString()));
  Directories directories{.base = kRootFid};
  SHEEN_CO_TRY_ASSIGN(const Fid directory, co_await EnsureDirectory(path.substr(1), &directories));
  SetFid(directory, wanted.mutable_directory());
  SHEEN_CO_TRY_ASSIGN(const std::string reply, co_await AskInternal(core_, &mds::AddRepository,
                                                                    request.SerializeAsString()));
  v1::AddRepositoryReply out;
  if (!out.mutable_repository()->ParseFromString(reply)) co_return Fail(Errc::kProtocol);
  if (request.import()) {
    core_->unlisted.Set(out.repository().id(), {directory, wanted.prefix()});
    SHEEN_CO_TRY(co_await AskInternal(core_, &RecallNames, reply));
  }
  SHEEN_LOG(Info, "{} is linked to s3://{}/{} as data repository {}", path, wanted.bucket(),
            wanted.prefix(), out.repository().id());
  co_return out;
}

async::Task<Result<v1::Repository>> Repositories::FindRepository(uint32_t id, std::string path) {
  SHEEN_CO_TRY_ASSIGN(const v1::ListRepositoriesReply all, co_await ListRepositories({}));
  for (const v1::Repository& one : all.repositories()) {
    if (path.empty() ? one.id() == id : one.path() == path) co_return one;
  }
  co_return Fail(Errc::kNoEntry,
                 path.empty()
                     ? fmt::format("there is no data repository {} (any more)", id)
                     : fmt::format("{} is no data repository; `sheen repo list` shows them", path));
}

async::Task<Result<bool>> Repositories::Drop(const v1::DropOrder* order) {
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &DropImported, order->SerializeAsString()));
  v1::DropOutcome outcome;
  if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  co_return outcome.dropped();
}

async::Task<Status> Repositories::DropBelow(Fid directory, std::string prefix, uint32_t repository,
                                            v1::RemoveRepositoryReply* counts) {
  if (prefix.size() > kPathBytesMax) {
    co_return Fail(Errc::kNameTooLong, "directories are nested too deep");
  }
  v1::ReadDirRequest look;
  SetFid(directory, look.mutable_fid());
  v1::DropOrder order;
  SetFid(directory, order.mutable_parent());
  order.set_repository(repository);
  for (bool end = false; !end;) {
    const auto page = co_await AskInternal(core_, &ListEntries, look.SerializeAsString());
    if (!page && page.error().code() == Errc::kStale) co_return Status();  // gone meanwhile
    SHEEN_CO_TRY(page);
    v1::ReadDirReply listed;
    if (!listed.ParseFromString(*page)) co_return Fail(Errc::kProtocol, "a bad listing");
    for (const v1::Entry& entry : listed.entries()) {
      if (entry.type() != kTypeDirectory) {
        counts->set_kept(counts->kept() + 1);
        continue;
      }
      order.set_key(prefix + entry.name() + "/");
      SHEEN_CO_TRY(co_await DropBelow(FidOf(entry.fid()), order.key(), repository, counts));
      order.set_name(entry.name());
      SHEEN_CO_TRY(co_await Drop(&order));
    }
    if (listed.entries_size() > 0) {
      look.set_cookie(listed.entries(listed.entries_size() - 1).cookie());
    }
    end = listed.end() || listed.entries_size() == 0;
  }
  co_return Status();
}

// The directories first: who finds the link gone finds all of it done.
async::Task<Result<v1::RemoveRepositoryReply>> Repositories::RemoveRepository(
    v1::RemoveRepositoryRequest request) {
  const std::string path = Normal(request.path());
  SHEEN_CO_TRY_ASSIGN(const v1::Repository repository,
                      co_await FindRepository(0, path.empty() ? request.path() : path));
  co_await WaitForClients();
  SHEEN_CO_TRY(co_await EndUnlisted(repository.id()));
  v1::RemoveRepositoryReply counts;
  if (!request.keep_data()) {
    SHEEN_CO_TRY(co_await DropBelow(FidOf(repository.directory()), repository.prefix(),
                                    repository.id(), &counts));
  }
  SHEEN_CO_TRY(co_await AskInternal(core_, &mds::RemoveRepository, path));
  SHEEN_LOG(Info, "{} is no data repository any more; {} names went, {} stay", path,
            counts.dropped(), counts.kept());
  co_return counts;
}

async::Task<Result<v1::ListRepositoriesReply>> Repositories::ListRepositories(
    v1::ListRepositoriesRequest /*request*/) {
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &mds::ListRepositories, {}));
  v1::ListRepositoriesReply out;
  if (!out.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad list");
  for (const v1::AgentEntry& agent : Agents()) *out.add_agents() = agent;
  schedule_.Describe(core_->Now(), &out);
  for (const v1::Repository& one : out.repositories()) {
    const uint64_t names = core_->pending.Of(one.id());
    if (names == 0) continue;
    v1::PendingCount* const count = out.add_pending();
    count->set_repository(one.id());
    count->set_names(names);
  }
  for (const uint32_t id : core_->unlisted.All()) out.add_unlisted(id);
  co_return out;
}

async::Task<Result<v1::ListRepositoriesReply>> Repositories::AgentHeartbeat(
    v1::AgentHeartbeatRequest request) {
  const std::string& fsname = core_->mdt->superblock().fsname;
  if (request.fsname() != fsname) {
    co_return Fail(Errc::kWrongFilesystem, fmt::format("this is filesystem '{}', the agent is of "
                                                       "'{}'",
                                                       fsname, request.fsname()));
  }
  {
    const std::scoped_lock lock(mutex_);
    const std::string& name = request.agent().name();
    if (!agents_.contains(name) && !request.leaving()) {
      SHEEN_LOG(Info, "agent {} is there, data port {}", name, request.agent().data_port());
    }
    if (request.leaving()) {
      agents_.erase(name);
    } else {
      agents_[name] = {request.agent(), core_->Now()};
    }
  }
  schedule_.Hear(request, core_->Now(), core_->WallNs());
  SHEEN_CO_TRY_ASSIGN(v1::ListRepositoriesReply all, co_await ListRepositories({}));
  if (!request.leaving()) schedule_.GiveDue(request.agent().name(), core_->Now(), &all);
  co_return all;
}

async::Task<Result<v1::ImportWhat>> Repositories::ImportOne(const v1::ImportEntry* entry,
                                                            Directories* directories) {
  const v1::Repository* const repository = directories->repository;
  const std::string& path = entry->path();
  const size_t slash = path.rfind('/');
  const std::string parent = slash == path.npos ? "" : path.substr(0, slash);
  v1::ImportOrder order;
  order.set_name(slash == path.npos ? path : path.substr(slash + 1));
  SHEEN_CO_TRY_ASSIGN(const Fid directory, co_await EnsureDirectory(parent, directories));
  if (directory.empty()) co_return v1::IMPORT_SKIPPED;
  SetFid(directory, order.mutable_parent());
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await NewFid());
  SetFid(fid, order.mutable_fid());
  order.set_repository(repository->id());
  order.set_chunk_bytes(repository->chunk_bytes());
  order.set_skip_new(directories->skip_new);
  order.set_pending(directories->pending);
  *order.mutable_entry() = *entry;
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &ImportEntry, order.SerializeAsString()));
  v1::ImportOutcome outcome;
  if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  co_return outcome.what();
}

async::Task<Result<v1::ImportEntriesReply>> Repositories::Probe(
    const v1::ImportEntriesRequest* request, const v1::Repository* repository) {
  v1::ProbeOrder order;
  *order.mutable_base() = repository->directory();
  *order.mutable_request() = *request;
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &ProbeImport, order.SerializeAsString()));
  v1::ImportEntriesReply out;
  if (!out.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad answer to a probe");
  co_return out;
}

async::Task<Result<v1::ImportEntriesReply>> Repositories::DropListed(
    const v1::ImportEntriesRequest* request, const v1::Repository* repository) {
  co_await WaitForClients();
  SHEEN_CO_TRY_ASSIGN(v1::ImportEntriesReply out, co_await Probe(request, repository));
  v1::DropOrder order;
  order.set_repository(request->repository());
  for (int i = 0; i < out.wanted_size() && i < out.parents_size(); ++i) {
    const v1::ImportEntry& entry = request->entries(static_cast<int>(out.wanted(i)));
    *order.mutable_parent() = out.parents(i);
    order.set_name(entry.path().substr(entry.path().rfind('/') + 1));
    order.set_key(entry.key());
    order.set_etag(entry.etag());
    SHEEN_CO_TRY_ASSIGN(const bool dropped, co_await Drop(&order));
    if (dropped) out.set_dropped(out.dropped() + 1);
  }
  out.clear_wanted();
  out.clear_parents();
  SHEEN_CO_TRY(co_await core_->committer->WaitCommitted(core_->mdt->LastWritten()));
  co_return out;
}

async::Task<Result<v1::ImportEntriesReply>> Repositories::ImportEntries(
    v1::ImportEntriesRequest request) {
  if (request.entries_size() > kEntriesPerRequestMax) {
    co_return Fail(Errc::kInvalid, "too many entries in a request");
  }
  SHEEN_CO_TRY_ASSIGN(const v1::Repository repository,
                      co_await FindRepository(request.repository(), ""));
  // Who looked for what has just been dropped would have it made again.
  if (request.all_named() || request.drop()) {
    SHEEN_CO_TRY(co_await EndUnlisted(repository.id()));
    if (request.all_named()) co_return v1::ImportEntriesReply();
  }
  if (request.probe()) co_return co_await Probe(&request, &repository);
  if (request.drop()) co_return co_await DropListed(&request, &repository);
  v1::ImportEntriesReply out;
  // No directory is made on the way to what is not wanted.
  const bool choosy = request.skip_new() || request.skip_changed() || request.pending();
  if (choosy) {
    SHEEN_CO_TRY_ASSIGN(out, co_await Probe(&request, &repository));
  } else {
    for (int i = 0; i < request.entries_size(); ++i) out.add_wanted(static_cast<uint32_t>(i));
  }
  co_await WaitForClients();
  Directories directories{.base = FidOf(repository.directory()),
                          .repository = &repository,
                          .skip_new = request.skip_new(),
                          .pending = request.pending()};
  for (const uint32_t index : out.wanted()) {
    // Of what people may have seen a listing alone says too little.
    if (request.pending() && std::ranges::binary_search(out.changed(), index)) continue;
    const v1::ImportEntry& entry = request.entries(static_cast<int>(index));
    const Result<v1::ImportWhat> what = co_await ImportOne(&entry, &directories);
    if (!what) {
      // Not the entry's fault: all of it is sent again.
      if (what.error().error_class() != ErrClass::kFail) co_return std::unexpected(what.error());
      v1::ImportFailure* failure = out.add_failures();
      failure->set_key(entry.key());
      failure->set_reason(what.error().message());
      continue;
    }
    switch (*what) {
      case v1::IMPORT_CREATED:
        out.set_created(out.created() + 1);
        break;
      case v1::IMPORT_UPDATED:
        out.set_updated(out.updated() + 1);
        break;
      case v1::IMPORT_SKIPPED:
        out.set_skipped(out.skipped() + 1);
        break;
      default:
        out.set_unchanged(out.unchanged() + 1);
    }
  }
  out.clear_wanted();
  if (request.pending()) *out.mutable_wanted() = out.changed();
  out.clear_changed();
  // What the answer counts survives power loss.
  SHEEN_CO_TRY(co_await core_->committer->WaitCommitted(core_->mdt->LastWritten()));
  co_return out;
}

async::Task<Result<v1::UpdateRepositoryReply>> Repositories::UpdateRepository(
    v1::UpdateRepositoryRequest request) {
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &mds::UpdateRepository,
                                           request.repository().SerializeAsString()));
  v1::UpdateRepositoryReply out;
  if (!out.mutable_repository()->ParseFromString(reply)) co_return Fail(Errc::kProtocol);
  schedule_.Forget(out.repository().id());
  SHEEN_LOG(Info, "data repository {} ({}) has new settings", out.repository().id(),
            out.repository().path());
  co_return out;
}

async::Task<Result<v1::ListImportedReply>> Repositories::ListImported(
    v1::ListImportedRequest request) {
  SHEEN_CO_TRY_ASSIGN(const v1::Repository repository,
                      co_await FindRepository(request.repository(), ""));
  if (!request.has_directory()) *request.mutable_directory() = repository.directory();
  const auto page = co_await AskInternal(core_, &mds::ListImported, request.SerializeAsString());
  v1::ListImportedReply out;
  out.set_end(true);
  if (!page && page.error().code() == Errc::kStale) co_return out;  // gone meanwhile
  SHEEN_CO_TRY(page);
  if (!out.ParseFromString(*page)) co_return Fail(Errc::kProtocol, "a bad listing");
  co_return out;
}

async::Task<Result<v1::ListPendingReply>> Repositories::ListPending(
    v1::ListPendingRequest request) {
  SHEEN_CO_TRY(co_await FindRepository(request.repository(), ""));
  SHEEN_CO_TRY_ASSIGN(const std::string reply, co_await AskInternal(core_, &mds::ListPending,
                                                                    request.SerializeAsString()));
  v1::ListPendingReply out;
  if (!out.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad list");
  out.set_total(core_->pending.Of(request.repository()));
  co_return out;
}

async::Task<Result<v1::FinishPendingReply>> Repositories::FinishPending(
    v1::FinishPendingRequest request) {
  if (request.answers_size() > kEntriesPerRequestMax) {
    co_return Fail(Errc::kInvalid, "too many answers in a request");
  }
  SHEEN_CO_TRY_ASSIGN(const v1::Repository repository,
                      co_await FindRepository(request.repository(), ""));
  co_await WaitForClients();
  v1::FinishPendingReply out;
  v1::FinishOrder order;
  order.set_repository(repository.id());
  order.set_chunk_bytes(repository.chunk_bytes());
  for (const v1::PendingAnswer& answer : request.answers()) {
    *order.mutable_answer() = answer;
    const Result<std::string> reply =
        co_await AskInternal(core_, &mds::FinishPending, order.SerializeAsString());
    if (!reply && reply.error().error_class() != ErrClass::kFail) {
      co_return std::unexpected(reply.error());  // all of it is sent again
    }
    v1::ImportOutcome outcome;
    if (!reply || !outcome.ParseFromString(*reply)) {
      v1::ImportFailure* const failure = out.add_failures();
      failure->set_key(answer.key());
      failure->set_reason(reply ? "a bad outcome" : reply.error().message());
      continue;
    }
    if (outcome.what() == v1::IMPORT_DROPPED) out.set_dropped(out.dropped() + 1);
    if (outcome.what() != v1::IMPORT_DROPPED) out.set_finished(out.finished() + 1);
  }
  SHEEN_CO_TRY(co_await core_->committer->WaitCommitted(core_->mdt->LastWritten()));
  co_return out;
}

async::Task<Result<v1::DropDeletedReply>> Repositories::DropDeleted(
    v1::DropDeletedRequest request) {
  if (request.entries_size() > kEntriesPerRequestMax) {
    co_return Fail(Errc::kInvalid, "too many entries in a request");
  }
  SHEEN_CO_TRY(co_await FindRepository(request.repository(), ""));
  co_await WaitForClients();
  v1::DropDeletedReply out;
  v1::DropOrder order;
  *order.mutable_parent() = request.directory();
  order.set_repository(request.repository());
  for (const v1::ImportedEntry& entry : request.entries()) {
    order.set_name(entry.name());
    order.set_key(entry.key());
    SHEEN_CO_TRY_ASSIGN(const bool dropped, co_await Drop(&order));
    if (dropped) out.set_dropped(out.dropped() + 1);
    if (!dropped) out.set_kept(out.kept() + 1);
  }
  SHEEN_CO_TRY(co_await core_->committer->WaitCommitted(core_->mdt->LastWritten()));
  co_return out;
}

}  // namespace sheen::mds
