#include "apps/sheen/repo.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/common/words.h"
#include "apps/sheen/dev_state.h"
#include "rpc/grpc_repositories.h"

namespace sheen::apps {
namespace {

using Json = nlohmann::json;

constexpr Nanos kCheckPatience = std::chrono::seconds(40);
constexpr auto kProgressLook = std::chrono::milliseconds(200);
constexpr int kFailuresShown = 20;

Result<rpc::Address> MdsAddress(const RepoFlags& flags) {
  if (flags.dev.empty()) return rpc::ParseAddress(flags.server, 7989);
  SHEEN_TRY_ASSIGN(const DevState state, LoadState(flags.dev));
  return rpc::Address{"127.0.0.1", static_cast<uint16_t>(state.servers.at(0).control_port)};
}

Result<v1::ListRepositoriesReply> ListAll(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  return rpc::RepositoryClient(address).ListRepositories();
}

Result<rpc::Address> AgentAddress(const v1::ListRepositoriesReply& all) {
  for (const v1::AgentEntry& agent : all.agents()) {
    if (agent.hosts().empty()) continue;
    return rpc::Address{agent.hosts(0), static_cast<uint16_t>(agent.control_port())};
  }
  return Fail(Errc::kUnavailable,
              "no agent is there, and only agents talk to S3; start one: sheen-agent --mgs "
              "HOST:CONTROLPORT (or `sheen dev up --agent`)");
}

Result<v1::Repository> FindRepository(const v1::ListRepositoriesReply& all,
                                      const std::string& path) {
  std::string known;
  for (const v1::Repository& repository : all.repositories()) {
    if (repository.path() == NormalPath(path)) return repository;
    known += (known.empty() ? "" : ", ") + repository.path();
  }
  return Fail(Errc::kNoEntry, fmt::format("{} is no data repository; there {}", path,
                                          known.empty() ? "are none" : "are: " + known));
}

// "s3://bucket/prefix"
Status ParseUrl(const std::string& url, v1::Repository* out) {
  constexpr std::string_view kScheme = "s3://";
  const std::string rest = url.starts_with(kScheme) ? url.substr(kScheme.size()) : "";
  const size_t slash = std::min(rest.find('/'), rest.size());
  out->set_bucket(rest.substr(0, slash));
  out->set_prefix(slash < rest.size() ? rest.substr(slash + 1) : "");
  if (!out->prefix().empty() && !out->prefix().ends_with('/')) out->mutable_prefix()->append("/");
  if (!out->bucket().empty()) return {};
  return Fail(Errc::kInvalid, fmt::format("'{}' is no place in S3; write s3://BUCKET/PREFIX", url));
}

Result<v1::Repository> Wanted(const RepoFlags& flags) {
  v1::Repository out;
  SHEEN_TRY(ParseUrl(flags.url, &out));
  out.set_path(flags.path);
  out.set_endpoint(flags.endpoint);
  out.set_region(flags.region);
  out.set_path_style(flags.path_style);
  out.set_profile(flags.profile);
  out.set_credentials_file(flags.credentials);
  SHEEN_TRY_ASSIGN(const uint64_t chunk, ParseSize(flags.chunk));
  out.set_chunk_bytes(chunk);
  out.set_concurrency(flags.concurrency);
  out.set_requests_per_second(flags.requests);
  if (!flags.bandwidth.empty()) {
    SHEEN_TRY_ASSIGN(const uint64_t bytes, ParseSize(flags.bandwidth));
    out.set_bytes_per_second(static_cast<double>(bytes));
  }
  return out;
}

std::string UrlOf(const v1::Repository& repository) {
  return "s3://" + repository.bucket() + "/" + repository.prefix();
}

Json AsJson(const v1::Repository& repository) {
  return {{"path", repository.path()},
          {"url", UrlOf(repository)},
          {"id", repository.id()},
          {"bucket", repository.bucket()},
          {"prefix", repository.prefix()},
          {"endpoint", repository.endpoint()},
          {"region", repository.region()},
          {"path_style", repository.path_style()},
          {"profile", repository.profile()},
          {"credentials_file", repository.credentials_file()},
          {"imported_file_chunk_bytes", repository.chunk_bytes()},
          {"concurrency", repository.concurrency()},
          {"requests_per_second", repository.requests_per_second()},
          {"bytes_per_second", repository.bytes_per_second()}};
}

Json AsJson(const v1::ImportProgress& progress) {
  return {{"done", progress.done()},
          {"error", progress.error()},
          {"listed", progress.listed()},
          {"listed_hash", fmt::format("{:016x}", progress.listed_hash())},
          {"imported", progress.finished()},
          {"imported_hash", fmt::format("{:016x}", progress.finished_hash())},
          {"created", progress.created()},
          {"updated", progress.updated()},
          {"unchanged", progress.unchanged()},
          {"failed", progress.failed()},
          {"bytes", progress.bytes()},
          {"seconds", progress.seconds()}};
}

// One line of RFC 4180.
std::string CsvLine(const v1::ImportFailure& failure) {
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
  };
  return quoted(failure.key()) + "," + quoted(failure.reason()) + "\n";
}

Status WriteFailures(const std::string& file, const v1::ImportProgress& progress) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << "key,reason\n";
  for (const v1::ImportFailure& failure : progress.failures()) out << CsvLine(failure);
  out.close();
  if (out.good()) return {};
  return Fail(Errc::kIo, "cannot write " + file);
}

void ShowProgress(const v1::ImportProgress& progress) {
  if (::isatty(STDERR_FILENO) == 0) return;
  const double seconds = std::max(progress.seconds(), 0.001);
  std::fprintf(stderr, "\r%llu of %llu keys, %.0f/s, %llu failed   ",
               static_cast<unsigned long long>(progress.finished()),
               static_cast<unsigned long long>(progress.listed()),
               static_cast<double>(progress.finished()) / seconds,
               static_cast<unsigned long long>(progress.failed()));
  if (progress.done()) std::fputs("\n", stderr);
}

Status Report(const RepoFlags& flags, const v1::ImportProgress& progress) {
  if (!flags.failures.empty()) SHEEN_TRY(WriteFailures(flags.failures, progress));
  if (flags.json) {
    std::printf("%s\n", AsJson(progress).dump(2).c_str());
  } else {
    std::printf("%s", fmt::format("{} keys listed, hash {:016x}; {} imported ({} new, {} changed, "
                                  "{} as before), {} failed; {:.1f} s\n",
                                  progress.listed(), progress.listed_hash(), progress.finished(),
                                  progress.created(), progress.updated(), progress.unchanged(),
                                  progress.failed(), progress.seconds())
                          .c_str());
  }
  for (int i = 0; i < progress.failures_size() && i < kFailuresShown; ++i) {
    std::fprintf(stderr, "'%s': %s\n", progress.failures(i).key().c_str(),
                 progress.failures(i).reason().c_str());
  }
  if (!progress.error().empty()) return Fail(Errc::kIo, "the import ended: " + progress.error());
  if (progress.failed() == 0) return {};
  return Fail(Errc::kIo, fmt::format("{} keys could not be imported{}", progress.failed(),
                                     flags.failures.empty()
                                         ? "; --failures FILE writes all of them"
                                         : ": see " + flags.failures));
}

Status Import(const RepoFlags& flags, const v1::ListRepositoriesReply& all,
              const v1::Repository& repository) {
  SHEEN_TRY_ASSIGN(const rpc::Address address, AgentAddress(all));
  rpc::AgentControlClient agent(address);
  v1::StartImportRequest request;
  request.set_repository(repository.id());
  request.set_no_head(flags.no_head);
  SHEEN_TRY_ASSIGN(const v1::StartImportReply started, agent.StartImport(request));
  v1::GetImportRequest look;
  look.set_task(started.task());
  for (;;) {
    SHEEN_TRY_ASSIGN(const v1::ImportProgress progress, agent.GetImport(look));
    ShowProgress(progress);
    if (progress.done()) return Report(flags, progress);
    std::this_thread::sleep_for(kProgressLook);
  }
}

}  // namespace

Status RepoAdd(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::Repository wanted, Wanted(flags));
  SHEEN_TRY_ASSIGN(v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const rpc::Address agent, AgentAddress(all));
  v1::CheckRepositoryRequest check;
  *check.mutable_repository() = wanted;
  const auto checked = rpc::AgentControlClient(agent, kCheckPatience).CheckRepository(check);
  if (!checked) {
    return Fail(checked.error().code(),
                fmt::format("{} cannot be used, and nothing was linked: {}", flags.url,
                            checked.error().message()));
  }
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  v1::AddRepositoryRequest request;
  *request.mutable_repository() = wanted;
  if (wanted.region().empty()) request.mutable_repository()->set_region(checked->region());
  SHEEN_TRY_ASSIGN(const v1::AddRepositoryReply added,
                   rpc::RepositoryClient(address).AddRepository(request));
  if (!flags.json) {
    std::printf("%s is linked to %s (keys from %s)\n", added.repository().path().c_str(),
                UrlOf(added.repository()).c_str(), checked->keys_from().c_str());
  }
  if (flags.no_import) {
    if (flags.json) std::printf("%s\n", AsJson(added.repository()).dump(2).c_str());
    return {};
  }
  return Import(flags, all, added.repository());
}

Status RepoList(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  Json out = Json::array();
  for (const v1::Repository& repository : all.repositories()) {
    out.push_back(AsJson(repository));
    if (!flags.json) {
      std::printf("%-24s %s%s%s\n", repository.path().c_str(), UrlOf(repository).c_str(),
                  repository.endpoint().empty() ? "" : " at ", repository.endpoint().c_str());
    }
  }
  if (flags.json) std::printf("%s\n", out.dump(2).c_str());
  return {};
}

Status RepoShow(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const v1::Repository repository, FindRepository(all, flags.path));
  const Json out = AsJson(repository);
  if (flags.json) {
    std::printf("%s\n", out.dump(2).c_str());
    return {};
  }
  for (const auto& [name, value] : out.items()) {
    std::printf("%-26s %s\n", name.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  return {};
}

Status RepoRemove(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  v1::RemoveRepositoryRequest request;
  request.set_path(flags.path);
  SHEEN_TRY(rpc::RepositoryClient(address).RemoveRepository(request));
  std::printf("%s is no data repository any more; its files stay, what was not loaded of them "
              "cannot be read\n",
              flags.path.c_str());
  return {};
}

Status RepoImport(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const v1::Repository repository, FindRepository(all, flags.path));
  return Import(flags, all, repository);
}

Status RepoStatus(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  Json agents = Json::array();
  for (const v1::AgentEntry& agent : all.agents()) {
    agents.push_back({{"name", agent.name()},
                      {"host", agent.hosts().empty() ? "" : agent.hosts(0)},
                      {"data_port", agent.data_port()},
                      {"control_port", agent.control_port()}});
  }
  if (flags.json) {
    Json repositories = Json::array();
    for (const v1::Repository& one : all.repositories()) repositories.push_back(AsJson(one));
    const Json out = {{"repositories", repositories}, {"agents", agents}};
    std::printf("%s\n", out.dump(2).c_str());
    return {};
  }
  std::printf("%d data repositories\n", all.repositories_size());
  for (const v1::Repository& one : all.repositories()) {
    std::printf("  %-24s %s\n", one.path().c_str(), UrlOf(one).c_str());
  }
  std::printf("%d agents%s\n", all.agents_size(),
              all.agents_size() == 0 ? ": nothing that is not here can be read" : "");
  for (const v1::AgentEntry& agent : all.agents()) {
    std::printf("  %-24s %s:%u\n", agent.name().c_str(),
                agent.hosts().empty() ? "?" : agent.hosts(0).c_str(), agent.data_port());
  }
  return {};
}

}  // namespace sheen::apps
