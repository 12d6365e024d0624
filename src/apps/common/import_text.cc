#include "apps/common/import_text.h"

#include <fmt/format.h>

#include "rpc/frame.h"

namespace sheen::apps {
namespace {

struct FeatureName {
  uint64_t bit;
  const char* name;
};
constexpr FeatureName kFeatureNames[] = {
    {rpc::kInodeLocks, "inode_locks"},   {rpc::kFileLocks, "file_locks"},
    {rpc::kExtentLocks, "extent_locks"}, {rpc::kKeptWrites, "kept_writes"},
    {rpc::kLayoutLocks, "layout_locks"}, {rpc::kOrigins, "origins"}};

std::string FeatureList(uint64_t features) {
  std::string out;
  for (const FeatureName& one : kFeatureNames) {
    if ((features & one.bit) != 0) out += fmt::format("{}{}", out.empty() ? "" : ", ", one.name);
  }
  return out;
}

std::string Quoted(const std::vector<std::string>& nids) {
  std::string out;
  for (const std::string& nid : nids) out += fmt::format("{}\"{}\"", out.empty() ? "" : ", ", nid);
  return out;
}

}  // namespace

std::string ImportText(const ImportFacts& facts) {
  std::string out = fmt::format(
      "import:\n"
      "    name: {}\n"
      "    target: {}\n"
      "    state: {}\n"
      "    connect_flags: [ {} ]\n"
      "    connect_data:\n"
      "       flags: {:#x}\n"
      "       instance: {}\n",
      facts.name, facts.target, facts.state, FeatureList(facts.features), facts.features,
      facts.boot);
  if (facts.is_ost) out += fmt::format("       grant: {}\n", facts.granted_bytes);
  out += fmt::format(
      "    connection:\n"
      "       failover_nids: [ {} ]\n"
      "       current_connection: {}\n"
      "       connections: {}\n"
      "       generation: {}\n",
      Quoted(facts.addresses), facts.current.empty() ? "<none>" : "\"" + facts.current + "\"",
      facts.connections, facts.handshakes);
  out += fmt::format(
      "    rpcs:\n"
      "       inflight: {}\n"
      "       max_inflight: {}\n"
      "       resends: {}\n"
      "       avg_waittime: {} usecs\n"
      "    transactions:\n"
      "       peer_committed: {}\n",
      facts.in_flight, facts.in_flight_max, facts.resends,
      facts.requests == 0 ? 0 : facts.micros / facts.requests, facts.committed);
  return out;
}

std::string ImportStateText(const std::string& state) {
  return fmt::format("current_state: {}\n", state);
}

}  // namespace sheen::apps
