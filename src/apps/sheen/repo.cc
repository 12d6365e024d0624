#include "apps/sheen/repo.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/common/words.h"
#include "apps/sheen/dev_state.h"
#include "apps/sheen/hsm.h"
#include "apps/sheen/repo_remove.h"
#include "apps/sheen/repo_settings.h"
#include "rpc/grpc_repositories.h"

namespace sheen::apps {
namespace {

using Json = nlohmann::json;

constexpr Nanos kCheckPatience = std::chrono::seconds(40);
constexpr auto kProgressLook = std::chrono::milliseconds(200);
constexpr auto kAgentPatience = std::chrono::seconds(8);
constexpr auto kAgentLook = std::chrono::milliseconds(200);
constexpr auto kRemoveLook = std::chrono::milliseconds(100);
constexpr int kFailuresShown = 20;
// Changes wait until the clients are back that were there before a restart of the MDS: 20 s.
constexpr Nanos kChangePatience = std::chrono::seconds(60);
// Name by name.
constexpr Nanos kRemovePatience = std::chrono::hours(6);

Result<rpc::Address> MdsAddress(const RepoFlags& flags) {
  if (flags.dev.empty()) return rpc::ParseAddress(flags.server, 7989);
  SHEEN_TRY_ASSIGN(const DevState state, LoadState(flags.dev));
  return rpc::Address{"127.0.0.1", static_cast<uint16_t>(state.servers.at(0).control_port)};
}

Result<v1::ListRepositoriesReply> ListAll(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  return rpc::RepositoryClient(address).ListRepositories();
}

// After a start of the MDS the agents have to say first that they are there.
Result<rpc::Address> AgentAddress(const RepoFlags& flags, v1::ListRepositoriesReply all) {
  const auto until = std::chrono::steady_clock::now() + kAgentPatience;
  for (;;) {
    for (const v1::AgentEntry& agent : all.agents()) {
      if (agent.hosts().empty()) continue;
      return rpc::Address{agent.hosts(0), static_cast<uint16_t>(agent.control_port())};
    }
    if (std::chrono::steady_clock::now() >= until) break;
    std::this_thread::sleep_for(kAgentLook);
    SHEEN_TRY_ASSIGN(all, ListAll(flags));
  }
  return Fail(Errc::kUnavailable,
              "no agent is there, and only agents talk to S3; start one: sheen-agent --mgs "
              "HOST:CONTROLPORT (or `sheen dev up --agent`)");
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
          {"deleted", progress.deleted()},
          {"skipped", progress.skipped()},
          {"failed", progress.failed()},
          {"named", progress.named()},
          {"named_seconds", progress.named_seconds()},
          {"pending", progress.pending()},
          {"asked", progress.asked()},
          {"bytes", progress.bytes()},
          {"seconds", progress.seconds()}};
}

Json AsJson(const v1::ImportState& state) {
  Json out = {{"running", state.running()}, {"agent", state.agent()},
              {"ended_ns", state.ended_ns()}};
  if (state.ended_ns() != 0) out["last"] = AsJson(state.last());
  return out;
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

// All that the agent keeps, part by part.
Status WriteFailures(const std::string& file, rpc::AgentControlClient* agent, uint64_t task) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << "key,reason\n";
  v1::GetImportRequest look;
  look.set_task(task);
  for (;;) {
    SHEEN_TRY_ASSIGN(const v1::ImportProgress part, agent->GetImport(look));
    for (const v1::ImportFailure& failure : part.failures()) out << CsvLine(failure);
    look.set_failures_from(look.failures_from() + static_cast<uint64_t>(part.failures_size()));
    if (part.failures_size() > 0 && look.failures_from() < part.failures_kept()) continue;
    if (part.failed() > part.failures_kept()) {
      std::fprintf(stderr, "%s has the first %llu of %llu failures\n", file.c_str(),
                   static_cast<unsigned long long>(part.failures_kept()),
                   static_cast<unsigned long long>(part.failed()));
    }
    break;
  }
  out.close();
  if (out.good()) return {};
  return Fail(Errc::kIo, "cannot write " + file);
}

void ShowProgress(const v1::ImportProgress& progress) {
  if (::isatty(STDERR_FILENO) == 0) return;
  const double seconds = std::max(progress.seconds(), 0.001);
  if (!progress.named()) {
    std::fprintf(stderr, "\r%llu of %llu keys, %.0f/s, %llu failed   ",
                 static_cast<unsigned long long>(progress.finished()),
                 static_cast<unsigned long long>(progress.listed()),
                 static_cast<double>(progress.finished()) / seconds,
                 static_cast<unsigned long long>(progress.failed()));
  } else {
    std::fprintf(stderr, "\r%llu keys; owner and mode of %llu of %llu, %llu failed   ",
                 static_cast<unsigned long long>(progress.finished()),
                 static_cast<unsigned long long>(progress.asked()),
                 static_cast<unsigned long long>(std::max(progress.pending(), progress.asked())),
                 static_cast<unsigned long long>(progress.failed()));
  }
  if (progress.done()) std::fputs("\n", stderr);
}

std::string Counts(const v1::ImportProgress& progress) {
  std::string out = fmt::format(
      "{} keys listed, hash {:016x}; {} imported ({} new, {} changed, {} as before), {} failed",
      progress.listed(), progress.listed_hash(), progress.finished(), progress.created(),
      progress.updated(), progress.unchanged(), progress.failed());
  if (progress.asked() > 0) {
    out += fmt::format(", owner and mode of {} asked for", progress.asked());
  }
  if (progress.skipped() > 0) out += fmt::format(", {} not asked for", progress.skipped());
  if (progress.deleted() > 0) out += fmt::format(", {} names deleted", progress.deleted());
  return out;
}

Status Report(const RepoFlags& flags, const v1::ImportProgress& progress) {
  if (flags.json) {
    std::printf("%s\n", AsJson(progress).dump(2).c_str());
  } else {
    std::printf("%s; %.1f s\n", Counts(progress).c_str(), progress.seconds());
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

// Of a repository that is compared with S3 by itself: its lines of the status.
void ShowComparison(const v1::Repository& repository, const v1::ImportState& state) {
  const uint32_t every = repository.import_every_s();
  std::printf("    compared %s: %s%s%s\n",
              every == 0 ? "for the last time" : fmt::format("every {} s", every).c_str(),
              ImportText(repository.import_what()).c_str(),
              state.running() ? "; now by " : "", state.agent().c_str());
  if (state.ended_ns() == 0) return;
  const int64_t ago = (SystemClock().Wall().count() - state.ended_ns()) / 1'000'000'000;
  std::printf("    %lld s ago: %s%s\n", static_cast<long long>(ago), Counts(state.last()).c_str(),
              state.last().error().empty() ? "" : ("; ended: " + state.last().error()).c_str());
  for (const v1::ImportFailure& failure : state.last().failures()) {
    std::printf("      '%s': %s\n", failure.key().c_str(), failure.reason().c_str());
  }
}

uint64_t PendingOf(const v1::ListRepositoriesReply& all, const v1::Repository& repository) {
  for (const v1::PendingCount& one : all.pending()) {
    if (one.repository() == repository.id()) return one.names();
  }
  return 0;
}

bool IsUnlisted(const v1::ListRepositoriesReply& all, const v1::Repository& repository) {
  return std::ranges::find(all.unlisted(), repository.id()) != all.unlisted().end();
}

volatile std::sig_atomic_t interrupted = 0;

// Of an import: an interrupt cancels it at the agent, and what it has done is reported. A removal
// ends with the link as it was.
class InterruptCatcher final {
 public:
  InterruptCatcher() : before_(::signal(SIGINT, [](int) { interrupted = 1; })) {}
  ~InterruptCatcher() { ::signal(SIGINT, before_); }
  InterruptCatcher(const InterruptCatcher&) = delete;
  InterruptCatcher& operator=(const InterruptCatcher&) = delete;

 private:
  void (*const before_)(int);
};

// To its end, on an agent; `ended` is called with it.
Status RunOnAgent(const RepoFlags& flags, const v1::ListRepositoriesReply& all,
                  const v1::StartImportRequest& request,
                  const std::function<Status(rpc::AgentControlClient*, uint64_t,
                                             const v1::ImportProgress&)>& ended) {
  SHEEN_TRY_ASSIGN(const rpc::Address address, AgentAddress(flags, all));
  rpc::AgentControlClient agent(address);
  SHEEN_TRY_ASSIGN(const v1::StartImportReply started, agent.StartImport(request));
  v1::GetImportRequest look;
  look.set_task(started.task());
  const InterruptCatcher catcher;
  for (;;) {
    if (interrupted != 0) {
      interrupted = 0;
      SHEEN_TRY(agent.CancelImport(look));
    }
    SHEEN_TRY_ASSIGN(const v1::ImportProgress progress, agent.GetImport(look));
    ShowProgress(progress);
    if (progress.done()) return ended(&agent, started.task(), progress);
    std::this_thread::sleep_for(kProgressLook);
  }
}

// `ordered`: --import is of this import, and not of the link.
Status Import(const RepoFlags& flags, const v1::ListRepositoriesReply& all,
              const v1::Repository& repository, bool ordered) {
  v1::StartImportRequest request;
  request.set_repository(repository.id());
  request.set_no_head(flags.no_head || repository.no_head());
  if (ordered && !flags.import.empty()) {
    SHEEN_TRY_ASSIGN(const uint32_t what, ParseImport(flags.import));
    if (what == 0) return Fail(Errc::kInvalid, "--import none: there is nothing to import then");
    request.set_what(what);
  }
  return RunOnAgent(flags, all, request,
                    [&flags](rpc::AgentControlClient* agent, uint64_t task,
                             const v1::ImportProgress& progress) -> Status {
                      if (!flags.failures.empty()) {
                        SHEEN_TRY(WriteFailures(flags.failures, agent, task));
                      }
                      return Report(flags, progress);
                    });
}

// The names that S3 has; gives how many went.
Result<uint64_t> DropNames(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const v1::Repository repository, FindRepository(all, flags.path));
  v1::StartImportRequest request;
  request.set_repository(repository.id());
  request.set_remove(true);
  uint64_t dropped = 0;
  const Status done = RunOnAgent(
      flags, all, request,
      [&dropped](rpc::AgentControlClient*, uint64_t, const v1::ImportProgress& progress) -> Status {
        dropped = progress.deleted();
        if (progress.error().empty()) return {};
        return Fail(Errc::kIo, progress.error());
      });
  if (done) return dropped;
  return Fail(done.error().code(),
              fmt::format("{} is still linked: what S3 has could not be looked up ({}); try again, "
                          "or unlink it with --keep-data",
                          flags.path, done.error().message()));
}

// By an agent.
Result<v1::CheckRepositoryReply> Check(const RepoFlags& flags,
                                       const v1::ListRepositoriesReply& all,
                                       const v1::Repository& repository) {
  SHEEN_TRY_ASSIGN(const rpc::Address agent, AgentAddress(flags, all));
  v1::CheckRepositoryRequest check;
  *check.mutable_repository() = repository;
  return rpc::AgentControlClient(agent, kCheckPatience).CheckRepository(check);
}

}  // namespace

Status RepoUpdate(const RepoFlags& flags) {
  if (flags.given.empty()) {
    return Fail(Errc::kInvalid, "nothing is to be changed; `sheen repo update --help` lists what "
                                "can be");
  }
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const v1::Repository before, FindRepository(all, flags.path));
  v1::Repository wanted = before;
  SHEEN_TRY(SetSettings(
      flags, [&flags](const char* name) { return flags.given.contains(name); }, &wanted));
  const auto checked = Check(flags, all, wanted);
  if (!checked) {
    return Fail(checked.error().code(),
                fmt::format("{} could not be used so, and nothing was changed: {}", UrlOf(wanted),
                            checked.error().message()));
  }
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  v1::UpdateRepositoryRequest request;
  *request.mutable_repository() = wanted;
  SHEEN_TRY_ASSIGN(const v1::UpdateRepositoryReply updated,
                   rpc::RepositoryClient(address, kChangePatience).UpdateRepository(request));
  const Json now = AsJson(updated.repository());
  if (flags.json) {
    std::printf("%s\n", now.dump(2).c_str());
    return {};
  }
  const Json then = AsJson(before);
  for (const auto& [name, value] : now.items()) {
    if (value == then.at(name)) continue;
    std::printf("%s: %s (was %s)\n", name.c_str(), value.dump().c_str(),
                then.at(name).dump().c_str());
  }
  return {};
}

Status RepoAdd(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::Repository wanted, WantedRepository(flags));
  SHEEN_TRY_ASSIGN(v1::ListRepositoriesReply all, ListAll(flags));
  const auto checked = Check(flags, all, wanted);
  if (!checked) {
    return Fail(checked.error().code(),
                fmt::format("{} cannot be used, and nothing was linked: {}", flags.url,
                            checked.error().message()));
  }
  SHEEN_TRY_ASSIGN(const rpc::Address address, MdsAddress(flags));
  v1::AddRepositoryRequest request;
  *request.mutable_repository() = wanted;
  request.set_import(!flags.no_import);
  if (wanted.region().empty()) request.mutable_repository()->set_region(checked->region());
  SHEEN_TRY_ASSIGN(const v1::AddRepositoryReply added,
                   rpc::RepositoryClient(address, kChangePatience).AddRepository(request));
  if (!flags.json) {
    std::printf("%s is linked to %s (keys from %s)\n", added.repository().path().c_str(),
                UrlOf(added.repository()).c_str(), checked->keys_from().c_str());
  }
  if (flags.no_import) {
    if (flags.json) std::printf("%s\n", AsJson(added.repository()).dump(2).c_str());
    return {};
  }
  return Import(flags, all, added.repository(), false);
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
  RemoveCalls calls;
  calls.list = [&flags] { return ListAll(flags); };
  calls.update = [&address](const v1::Repository& wanted) -> Status {
    v1::UpdateRepositoryRequest request;
    *request.mutable_repository() = wanted;
    SHEEN_TRY(rpc::RepositoryClient(address, kChangePatience).UpdateRepository(request));
    return {};
  };
  if (!flags.keep_data) calls.drop_names = [&flags] { return DropNames(flags); };
  calls.remove = [&flags, &address] {
    v1::RemoveRepositoryRequest request;
    request.set_path(flags.path);
    request.set_keep_data(flags.keep_data);
    return rpc::RepositoryClient(address, kRemovePatience).RemoveRepository(request);
  };
  calls.pause = []() -> Status {
    std::this_thread::sleep_for(kRemoveLook);
    if (interrupted == 0) return {};
    return Fail(Errc::kInterrupted, "interrupted; the link is as it was");
  };
  const InterruptCatcher catcher;
  SHEEN_TRY_ASSIGN(const RemovedLink removed, RemoveLink(flags.path, calls));
  if (flags.json) {
    const Json out = {{"path", flags.path},
                      {"dropped", removed.dropped},
                      {"kept", removed.counts.kept()}};
    std::printf("%s\n", out.dump(2).c_str());
    return {};
  }
  std::printf("%s is no data repository any more", flags.path.c_str());
  if (flags.keep_data) {
    std::printf("; its files stay, what was not loaded of them cannot be read until the same place "
                "in S3 is linked again\n");
    return {};
  }
  std::printf("; %llu files that S3 has were taken away, %llu stay\n",
              static_cast<unsigned long long>(removed.dropped),
              static_cast<unsigned long long>(removed.counts.kept()));
  return {};
}

Status RepoImport(const RepoFlags& flags) {
  SHEEN_TRY_ASSIGN(const v1::ListRepositoriesReply all, ListAll(flags));
  SHEEN_TRY_ASSIGN(const v1::Repository repository, FindRepository(all, flags.path));
  return Import(flags, all, repository, true);
}

Status RepoStatus(const RepoFlags& flags) {
  if (!flags.path.empty()) {
    SHEEN_TRY_ASSIGN(const bool shown, ShowHsmFile(flags.path, flags.json));
    if (shown) return {};
  }
  SHEEN_TRY_ASSIGN(v1::ListRepositoriesReply all, ListAll(flags));
  if (!flags.path.empty()) {
    SHEEN_TRY_ASSIGN(const v1::Repository repository, FindRepository(all, flags.path));
    all.clear_repositories();
    *all.add_repositories() = repository;
  }
  Json agents = Json::array();
  for (const v1::AgentEntry& agent : all.agents()) {
    agents.push_back({{"name", agent.name()},
                      {"host", agent.hosts().empty() ? "" : agent.hosts(0)},
                      {"data_port", agent.data_port()},
                      {"control_port", agent.control_port()}});
  }
  if (flags.json) {
    Json repositories = Json::array();
    for (const v1::Repository& one : all.repositories()) {
      repositories.push_back(AsJson(one));
      repositories.back()["pending"] = PendingOf(all, one);
      repositories.back()["unlisted"] = IsUnlisted(all, one);
      if (const v1::ImportState* state = StateOf(all, one)) {
        repositories.back()["comparison"] = AsJson(*state);
      }
    }
    const Json out = {{"repositories", repositories}, {"agents", agents}};
    std::printf("%s\n", out.dump(2).c_str());
    return {};
  }
  std::printf("%d data repositories\n", all.repositories_size());
  for (const v1::Repository& one : all.repositories()) {
    std::printf("  %-24s %s\n", one.path().c_str(), UrlOf(one).c_str());
    if (IsUnlisted(all, one)) {
      std::printf("    no import has named all yet: absent ones are asked of S3 until "
                  "`sheen repo import %s` has ended\n",
                  one.path().c_str());
    }
    if (const uint64_t names = PendingOf(all, one); names > 0) {
      std::printf("    %llu names whose owner and mode S3 is asked for when somebody looks, or by "
                  "an import\n",
                  static_cast<unsigned long long>(names));
    }
    if (const v1::ImportState* state = StateOf(all, one)) ShowComparison(one, *state);
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
