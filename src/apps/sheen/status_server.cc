#include "apps/sheen/status_server.h"

#include <fmt/format.h>
#include <mntent.h>

#include <algorithm>
#include <vector>

#include "apps/common/configured_address.h"
#include "apps/sheen/cluster_status.h"
#include "apps/sheen/dev_state.h"

namespace sheen::apps {
namespace {

constexpr uint16_t kMdsControl = 7989;
constexpr uint16_t kOssControl = 7991;
constexpr char kDefaultInstance[] = "dev";

// Instances whose MDS runs; those that cannot be read are left out.
std::vector<DevState> RunningInstances() {
  std::vector<DevState> out;
  for (const std::string& name : InstanceNames()) {
    Result<DevState> state = LoadState(name);
    if (!state || state->servers.empty()) continue;
    if (StateOf(state->servers[0].process) != ProcessState::kGone) out.push_back(std::move(*state));
  }
  return out;
}

rpc::Address ControlOf(const DevState& state) {
  return {"127.0.0.1", static_cast<uint16_t>(state.servers.at(0).control_port)};
}

// "10.0.0.1:/sheen on /mnt, ...": what is mounted here.
std::string Mounts() {
  FILE* const file = ::setmntent("/proc/self/mounts", "re");
  if (file == nullptr) return {};
  std::string out;
  mntent entry{};
  char buffer[8192];
  while (::getmntent_r(file, &entry, buffer, sizeof buffer) != nullptr) {
    if (std::string(entry.mnt_type) != "fuse.sheen") continue;
    out += fmt::format("{}{} on {}", out.empty() ? "" : ", ", entry.mnt_fsname, entry.mnt_dir);
  }
  ::endmntent(file);
  return out;
}

Error NobodyAnswers(const std::string& asked) {
  std::string text = fmt::format(
      "no server of this host answers (asked: {}); start one, or name another with --server "
      "HOST:CONTROLPORT or --dev NAME",
      asked);
  if (const std::string mounts = Mounts(); !mounts.empty()) {
    text += fmt::format(
        ". Mounted here: {}; a server tells its state on its own host only, run sheen status "
        "there; here, lfs check all and lfs df tell what the mount sees",
        mounts);
  }
  return Error(Errc::kUnavailable, std::move(text));
}

// Nobody listens there, so that the next may be asked.
bool IsNobody(Errc code) { return code == Errc::kUnavailable || code == Errc::kConnectionRefused; }

}  // namespace

Result<std::string> StatusOfInstance(const std::string& name, bool as_json) {
  SHEEN_TRY_ASSIGN(const DevState state, LoadState(name));
  if (state.servers.empty() || StateOf(state.servers[0].process) == ProcessState::kGone) {
    return Fail(Errc::kUnavailable, fmt::format("the MDS of instance '{0}' does not run; start it "
                                                "with: sheen dev up --name {0}",
                                                name));
  }
  return ClusterStatus(ControlOf(state), as_json);
}

Result<std::string> StatusOfWhoeverAnswers(bool as_json) {
  SHEEN_TRY_ASSIGN(const rpc::Address mds, ConfiguredControl("/etc/sheen/mds.toml", kMdsControl));
  Result<std::string> status = ClusterStatus(mds, as_json);
  if (status || !IsNobody(status.error().code())) return status;
  const std::vector<DevState> instances = RunningInstances();
  const auto chosen = std::ranges::find(instances, kDefaultInstance, &DevState::name);
  if (chosen != instances.end()) return ClusterStatus(ControlOf(*chosen), as_json);
  if (instances.size() == 1) return ClusterStatus(ControlOf(instances[0]), as_json);
  if (!instances.empty()) {
    std::string names;
    for (const DevState& one : instances) names += (names.empty() ? "" : ", ") + one.name;
    return Fail(Errc::kInvalid, fmt::format("several instances of sheen dev run here ({}); name "
                                            "one with --dev NAME",
                                            names));
  }
  SHEEN_TRY_ASSIGN(const rpc::Address oss, ConfiguredControl("/etc/sheen/oss.toml", kOssControl));
  status = ClusterStatus(oss, as_json);
  if (status || !IsNobody(status.error().code())) return status;
  return std::unexpected(
      NobodyAnswers(fmt::format("{} for an MDS, sheen dev for an instance that runs, {} for an OSS",
                                mds.ToString(), oss.ToString())));
}

}  // namespace sheen::apps
