#include "apps/client/client_params.h"

#include <fmt/format.h>

#include <tuple>

#include "apps/common/import_text.h"
#include "apps/common/stats_params.h"
#include "client/client_stats.h"
#include "client/imports.h"
#include "fuse/job_id.h"
#include "fuse/op_stats.h"
#include "layout/ost_name.h"

namespace sheen::apps {
namespace {

constexpr uint64_t kPagesPerRpcMax = 256;  // of 4 KiB: FUSE's largest request

// 16 hexadecimal digits, as Lustre's, but of the client's UUID.
std::string Suffix(const client::Filesystem& filesystem) {
  const Uuid& uuid = filesystem.identity().uuid();
  std::string out = "ffff";
  for (size_t i = 0; i < 6; ++i) out += fmt::format("{:02x}", uuid.bytes[i]);
  return out;
}

const char* OnOff(bool on) { return on ? "1" : "0"; }

// One setting for all of a mount's OSTs.
Param Checksums(std::string name, client::Filesystem* fs) {
  return {std::move(name), [fs] { return OnOff(fs->block_sums()); },
          [fs](const std::string& value) -> Status {
            SHEEN_TRY_ASSIGN(const bool on, ParseParamSwitch(value));
            fs->SetBlockSums(on);
            return {};
          }};
}

void AddLockParams(const ClientParamsOwner& owner, ParamList* list) {
  client::Filesystem* const fs = owner.filesystem;
  const std::string locks =
      fmt::format("ldlm.namespaces.{}-MDT0000-mdc-{}", fs->options().fsname, Suffix(*fs));
  // A lock an inode.
  list->push_back(ReadOnly(locks + ".lock_count", fs->inode_locks().inodes));
  list->push_back(ReadOnly(locks + ".resource_count", fs->inode_locks().inodes));
  list->push_back({locks + ".lru_size", [fs] { return fmt::format("{}", fs->inode_locks().limit); },
                   [fs](const std::string& value) -> Status {
                     if (value == "clear") {
                       fs->DropInodeLocks();
                       return {};
                     }
                     constexpr uint64_t kLocksMax = 10'000'000;
                     SHEEN_TRY_ASSIGN(const uint64_t count, ParseParamNumber(value, 0, kLocksMax));
                     fs->SetInodeLocksMax(count);
                     return {};
                   }});
}

client::Import ConnectionTo(client::Filesystem* fs, const client::TargetStats& stats) {
  client::Imports imports = client::ImportsOf(fs);
  return stats.is_mdt() ? std::move(imports.mdt) : std::move(imports.osts[stats.index()]);
}

std::string Nid(const std::string& host) { return host + "@tcp"; }

std::string ImportOf(client::Filesystem* fs, const client::TargetStats& stats,
                     const std::string& device) {
  const client::Import import = ConnectionTo(fs, stats);
  ImportFacts facts;
  facts.name = device;
  facts.target = fmt::format("{}-{}_UUID", fs->options().fsname, stats.name());
  facts.state = client::NameOf(import.state);
  facts.features = import.features;
  facts.boot = import.boot;
  for (const rpc::Address& address : import.addresses) facts.addresses.push_back(Nid(address.host));
  if (!import.peer.empty()) facts.current = import.Nid();
  facts.connections = import.connections;
  facts.handshakes = import.handshakes;
  facts.in_flight = stats.in_flight();
  facts.in_flight_max = stats.limit.most();
  facts.resends = stats.retries.value();
  const Tally& answered = stats.requests().tally(0);
  facts.requests = answered.samples();
  facts.micros = answered.sum();
  facts.committed = import.committed;
  facts.is_ost = !stats.is_mdt();
  if (facts.is_ost) facts.granted_bytes = fs->GrantedBytes(stats.index());
  return ImportText(facts);
}

// How the mount is connected to the target, and how much it may ask of it at a time.
void AddConnectionParams(client::Filesystem* fs, client::TargetStats* stats,
                         const std::string& kind, const std::string& device, ParamList* list) {
  const std::string base = kind + "." + device;
  list->push_back(
      ReadOnly(base + ".import", [fs, stats, device] { return ImportOf(fs, *stats, device); }));
  list->push_back(ReadOnly(base + ".state", [fs, stats] {
    return ImportStateText(std::string(client::NameOf(ConnectionTo(fs, *stats).state)));
  }));
  list->push_back({base + ".max_rpcs_in_flight",
                   [stats] { return std::to_string(stats->limit.most()); },
                   [stats](const std::string& value) -> Status {
                     SHEEN_TRY_ASSIGN(const uint64_t most,
                                      ParseParamNumber(value, 1, client::RpcLimit::kMostMax));
                     stats->limit.SetMost(static_cast<uint32_t>(most), SystemClock().Monotonic());
                     return {};
                   }});
}

void AddTargetParams(const ClientParamsOwner& owner, ParamList* list) {
  client::Filesystem* const fs = owner.filesystem;
  // Those that were not asked for anything yet, too.
  fs->stats()->Mdt(0);
  for (const auto& [index, server] : fs->OstServers()) fs->stats()->Ost(index);
  for (client::TargetStats* const stats : fs->stats()->All()) {
    const std::string kind = stats->is_mdt() ? "mdc" : "osc";
    const std::string device =
        fmt::format("{}-{}-{}-{}", fs->options().fsname, stats->name(), kind, Suffix(*fs));
    const std::string base = kind + "." + device;
    AddConnectionParams(fs, stats, kind, device, list);
    list->push_back(StatsParam(base + ".stats", {&stats->requests()},
                               [stats](int64_t now_ns) { stats->Clear(now_ns); }));
    list->push_back(ReadOnly(base + ".rpcs_in_flight", stats->in_flight()));
    list->push_back(ReadOnly(base + ".resend_count", stats->retries.value()));
    if (stats->is_mdt()) continue;
    list->push_back(Checksums(base + ".checksums", fs));
    list->push_back(ReadOnly(base + ".checksum_type", std::string("[crc32c]")));
    list->push_back(ReadOnly(base + ".max_pages_per_rpc", kPagesPerRpcMax));
    list->push_back({base + ".rpc_stats",
                     [stats] { return stats->RpcStatsText(SystemClock().Wall().count()); },
                     [stats](const std::string&) -> Status {
                       stats->ClearRpcs(SystemClock().Wall().count());
                       return {};
                     }});
    list->push_back(ReadOnly(base + ".cur_grant_bytes", fs->GrantedBytes(stats->index())));
    list->push_back(ReadOnly(base + ".active", 1));
  }
}

void AddMountParams(const ClientParamsOwner& owner, ParamList* list) {
  client::Filesystem* const fs = owner.filesystem;
  const std::string base = "llite." + InstanceOf(*fs);
  fuse::OpStats* const stats = owner.session->operation_stats();
  list->push_back(StatsParam(base + ".stats", {&stats->operations()},
                             [stats](int64_t now_ns) { stats->Clear(now_ns); }));
  list->push_back(ReadOnly(base + ".uuid", fs->identity().uuid().ToString()));
  list->push_back(ReadOnly(base + ".fstype", std::string("sheen")));
  list->push_back(ReadOnly(base + ".mountpoint", owner.mountpoint));
  list->push_back(Checksums(base + ".checksums", fs));
  list->push_back(ReadOnly(base + ".write_behind", OnOff(fs->options().write_behind)));
  list->push_back(ReadOnly(base + ".cur_dirty_bytes", fs->held().bytes));
  list->push_back(ReadOnly(base + ".max_dirty_mb", fs->held().limit >> 20));
  list->push_back(ReadOnly(base + ".cache_stats", [fs] {
    const client::ClientStats* const counts = fs->stats();
    return fmt::format("lookup_hits {}\nlookup_misses {}\ngetattr_hits {}\ngetattr_misses {}\n",
                       counts->name_hits.value(), counts->name_misses.value(),
                       counts->attr_hits.value(), counts->attr_misses.value());
  }));
  list->push_back(ReadOnly(base + ".transport", owner.session->TransportText()));
}

// Of the process: all its mounts tell jobs alike.
void AddJobParams(ParamList* list) {
  fuse::JobIds* const jobs = fuse::JobIds::Instance();
  list->push_back({"jobid_var", [jobs] { return jobs->variable(); },
                   [jobs](const std::string& value) { return jobs->SetVariable(value); }});
  list->push_back({"jobid_name", [jobs] { return jobs->name(); },
                   [jobs](const std::string& value) { return jobs->SetName(value); }});
  list->push_back({"jobid_this_session", [jobs] { return jobs->session(); },
                   [jobs](const std::string& value) { return jobs->SetSession(value); }});
}

std::string Devices(const ClientParamsOwner& owner) {
  const client::Filesystem& fs = *owner.filesystem;
  const std::string uuid = fs.identity().uuid().ToString();
  const std::string& fsname = fs.options().fsname;
  const std::string suffix = Suffix(fs);
  std::string out = fmt::format("UP mgc MGC{}@tcp {} 1\n", owner.mgs, uuid);
  out += fmt::format("UP lov {}-clilov-{} {} 1\n", fsname, suffix, uuid);
  out += fmt::format("UP lmv {}-clilmv-{} {} 1\n", fsname, suffix, uuid);
  // Whom they are connected to comes last: lctl dl -t.
  const client::Imports imports = client::ImportsOf(owner.filesystem);
  out += fmt::format("UP mdc {}-MDT0000-mdc-{} {} 1 {}\n", fsname, suffix, uuid,
                     imports.mdt.Nid());
  for (const auto& [index, server] : fs.OstServers()) {
    const auto import = imports.osts.find(index);
    out += fmt::format("UP osc {}-osc-{} {} 1 {}\n", layout::OstName(fsname, index), suffix, uuid,
                       import == imports.osts.end() ? "0.0.0.0@tcp" : import->second.Nid());
  }
  return out;
}

void AddMetrics(const ClientParamsOwner& owner, MetricsText* text) {
  const client::Filesystem& fs = *owner.filesystem;
  const MetricsOwner mount{"client", InstanceOf(fs)};
  AddTableMetrics(mount, owner.session->operation_stats()->operations(), text);
  for (const client::TargetStats* const stats : fs.stats()->All()) {
    const MetricLabels labels = {{"component", "client"},
                                 {"target", fs.options().fsname + "-" + stats->name()}};
    text->Gauge("lustre_rpcs_in_flight", "Requests that wait for their answers.", labels,
                static_cast<double>(stats->in_flight()));
    text->Gauge("lustre_maximum_rpcs_in_flight", "How many there may be; others wait.", labels,
                stats->limit.most());
    text->Counter("sheen_client_retries_total", "Requests that had to be tried again.", labels,
                  stats->retries.value());
    text->Latency("sheen_client_request_duration_seconds", "Time from a request to its answer.",
                  labels, stats->requests().tally(0).Read());
    if (stats->is_mdt()) continue;
    AddIoMetrics({"lustre_pages_per_rpc_total", "Reads and writes, by 4 KiB pages."}, labels,
                 stats->rpcs(), client::TargetStats::kPagesPerRpc, text);
  }
  const MetricLabels labels = {{"component", "client"}, {"target", mount.target}};
  text->Gauge("lustre_lock_count_total", "Inodes of which something is kept under locks.", labels,
              static_cast<double>(fs.inode_locks().inodes));
  const client::ClientStats& counts = *fs.stats();
  for (const auto& [operation, hits, misses] :
       {std::tuple("lookup", &counts.name_hits, &counts.name_misses),
        {"getattr", &counts.attr_hits, &counts.attr_misses}}) {
    MetricLabels whose = labels;
    whose.emplace_back("operation", operation);
    text->Counter("sheen_client_cache_hits_total", "Answered from what locks cover.", whose,
                  hits->value());
    text->Counter("sheen_client_cache_misses_total", "Asked of the MDS.", whose, misses->value());
  }
  for (const auto& [index, server] : fs.OstServers()) {
    const MetricLabels ost = {{"component", "client"},
                              {"target", layout::OstName(fs.options().fsname, index)}};
    text->Gauge("sheen_client_grant_bytes", "Space that the OST has granted.", ost,
                static_cast<double>(fs.GrantedBytes(index)));
  }
  text->Gauge("lustre_checksum_pages_enabled", "1: data carries its checksums from end to end.",
              labels, fs.block_sums() ? 1 : 0);
  text->Gauge("sheen_client_held_bytes", "Bytes accepted and not yet written to OSTs.", labels,
              static_cast<double>(fs.held().bytes));
}

}  // namespace

std::string InstanceOf(const client::Filesystem& filesystem) {
  return filesystem.options().fsname + "-" + Suffix(filesystem);
}

void AddClientParams(const ClientParamsOwner& owner, NodeControl* control) {
  control->AddParams([owner](ParamList* list) {
    AddMountParams(owner, list);
    AddLockParams(owner, list);
    AddTargetParams(owner, list);
    AddJobParams(list);
    list->push_back(ReadOnly("devices", [owner] { return Devices(owner); }));
    list->push_back(ReadOnly("health_check", std::string("healthy")));
  });
  control->AddMetrics([owner](MetricsText* text) { AddMetrics(owner, text); });
}

}  // namespace sheen::apps
