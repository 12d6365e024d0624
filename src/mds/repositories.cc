#include "mds/repositories.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

constexpr int kEntriesPerRequestMax = 10'000;
// See docs/formats: inode numbers have 24 bits for it.
constexpr uint32_t kOidMax = (1U << 24) - 1;

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

async::Task<Result<Fid>> Repositories::EnsureDirectory(Fid base, std::string path,
                                                       Directories* known) {
  Fid at = base;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string so_far = path.substr(0, end);
    const auto found = known->find(so_far);
    if (found != known->end()) {
      at = found->second;
    } else {
      v1::ImportOrder order;
      SetFid(at, order.mutable_parent());
      order.set_name(path.substr(begin, end - begin));
      order.set_directory_only(true);
      SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await NewFid());
      SetFid(fid, order.mutable_fid());
      SHEEN_CO_TRY_ASSIGN(const std::string reply,
                          co_await AskInternal(core_, &ImportEntry, order.SerializeAsString()));
      v1::ImportOutcome outcome;
      if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
      at = FidOf(outcome.fid());
      (*known)[so_far] = at;
    }
    begin = end + 1;
  }
  co_return at;
}

async::Task<Result<v1::AddRepositoryReply>> Repositories::AddRepository(
    v1::AddRepositoryRequest request) {
  v1::Repository wanted = request.repository();
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
  // Before anything is made.
  SHEEN_CO_TRY(co_await AskInternal(core_, &mds::AddRepository, wanted.SerializeAsString()));
  Directories known;
  SHEEN_CO_TRY_ASSIGN(const Fid directory,
                      co_await EnsureDirectory(kRootFid, path.substr(1), &known));
  SetFid(directory, wanted.mutable_directory());
  SHEEN_CO_TRY_ASSIGN(const std::string reply, co_await AskInternal(core_, &mds::AddRepository,
                                                                    wanted.SerializeAsString()));
  v1::AddRepositoryReply out;
  if (!out.mutable_repository()->ParseFromString(reply)) co_return Fail(Errc::kProtocol);
  SHEEN_LOG(Info, "{} is linked to s3://{}/{} as data repository {}", path, wanted.bucket(),
            wanted.prefix(), out.repository().id());
  co_return out;
}

async::Task<Result<v1::RemoveRepositoryReply>> Repositories::RemoveRepository(
    v1::RemoveRepositoryRequest request) {
  SHEEN_CO_TRY(co_await AskInternal(core_, &mds::RemoveRepository, Normal(request.path())));
  co_return v1::RemoveRepositoryReply();
}

async::Task<Result<v1::ListRepositoriesReply>> Repositories::ListRepositories(
    v1::ListRepositoriesRequest /*request*/) {
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &mds::ListRepositories, {}));
  v1::ListRepositoriesReply out;
  if (!out.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad list");
  for (const v1::AgentEntry& agent : Agents()) *out.add_agents() = agent;
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
  co_return co_await ListRepositories({});
}

async::Task<Result<v1::ImportWhat>> Repositories::ImportOne(const v1::Repository* repository,
                                                            const v1::ImportEntry* entry,
                                                            Directories* known) {
  const std::string& path = entry->path();
  const size_t slash = path.rfind('/');
  const std::string parent = slash == path.npos ? "" : path.substr(0, slash);
  v1::ImportOrder order;
  order.set_name(slash == path.npos ? path : path.substr(slash + 1));
  SHEEN_CO_TRY_ASSIGN(const Fid directory,
                      co_await EnsureDirectory(FidOf(repository->directory()), parent, known));
  SetFid(directory, order.mutable_parent());
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await NewFid());
  SetFid(fid, order.mutable_fid());
  order.set_repository(repository->id());
  order.set_chunk_bytes(repository->chunk_bytes());
  *order.mutable_entry() = *entry;
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &ImportEntry, order.SerializeAsString()));
  v1::ImportOutcome outcome;
  if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  co_return outcome.what();
}

async::Task<Result<v1::ImportEntriesReply>> Repositories::ImportEntries(
    v1::ImportEntriesRequest request) {
  if (request.entries_size() > kEntriesPerRequestMax) {
    co_return Fail(Errc::kInvalid, "too many entries in a request");
  }
  SHEEN_CO_TRY_ASSIGN(const v1::ListRepositoriesReply all, co_await ListRepositories({}));
  const v1::Repository* repository = nullptr;
  for (const v1::Repository& one : all.repositories()) {
    if (one.id() == request.repository()) repository = &one;
  }
  if (repository == nullptr) {
    co_return Fail(Errc::kNoEntry, fmt::format("there is no data repository {} (any more)",
                                               request.repository()));
  }
  v1::ImportEntriesReply out;
  Directories known;
  for (const v1::ImportEntry& entry : request.entries()) {
    const Result<v1::ImportWhat> what = co_await ImportOne(repository, &entry, &known);
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
      default:
        out.set_unchanged(out.unchanged() + 1);
    }
  }
  co_return out;
}

}  // namespace sheen::mds
