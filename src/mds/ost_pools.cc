#include "mds/ost_pools.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "layout/ost_name.h"

namespace sheen::mds {
namespace {

constexpr uint8_t kPoolsVersion = 1;
// Words of lfs setstripe -p that name no pool.
constexpr std::string_view kReserved[] = {"none", "inherit", layout::kIgnorePool};

std::string NameOf(const PoolChange& change) { return change.fsname + "." + change.pool; }

Status CheckNewPool(const PoolChange& change, const OstPools& pools) {
  const bool reserved = std::ranges::find(kReserved, change.pool) != std::end(kReserved);
  if (reserved || !layout::ValidPoolName(change.pool)) {
    return Fail(Errc::kInvalid,
                fmt::format("'{}' cannot be a pool's name: 1 to 15 of A-Z a-z 0-9 _ -, and not "
                            "none, inherit or ignore",
                            change.pool));
  }
  if (pools.contains(change.pool)) {
    return Fail(Errc::kExists, "Pool " + NameOf(change) + " already exists");
  }
  if (pools.size() >= kPoolsMax) {
    return Fail(Errc::kNoSpace, fmt::format("there are {} pools already; destroy one", kPoolsMax));
  }
  return {};
}

// Adds or removes one. `room`: how many more may be members of pools.
Status ChangeMember(const PoolChange& change, uint32_t ost, const std::set<uint32_t>& registered,
                    std::set<uint32_t>* members, size_t room) {
  if (change.kind == PoolChange::Kind::kRemove) {
    if (members->erase(ost) > 0) return {};
    return Fail(Errc::kNoEntry,
                fmt::format("OST {} is not in pool {}", layout::OstUuidName(change.fsname, ost),
                            NameOf(change)));
  }
  if (!registered.contains(ost)) {
    return Fail(Errc::kNoEntry,
                fmt::format("OST {} is not part of the '{}' filesystem",
                            layout::OstUuidName(change.fsname, ost), change.fsname));
  }
  if (members->contains(ost)) {
    return Fail(Errc::kExists,
                fmt::format("OST {} is already in pool {}",
                            layout::OstUuidName(change.fsname, ost), NameOf(change)));
  }
  if (room == 0) {
    return Fail(Errc::kNoSpace,
                fmt::format("the pools of '{}' have {} members together, which is the most that "
                            "the cluster map can hold; remove OSTs from others (lctl pool_remove) "
                            "before OST {} goes into pool {}",
                            change.fsname, kPoolMembersMax,
                            layout::OstUuidName(change.fsname, ost), NameOf(change)));
  }
  members->insert(ost);
  return {};
}

}  // namespace

std::string EncodePools(const OstPools& pools) {
  Encoder out;
  out.U8(kPoolsVersion);
  out.U32(static_cast<uint32_t>(pools.size()));
  for (const auto& [name, osts] : pools) {
    out.Bytes(name);
    out.U32(static_cast<uint32_t>(osts.size()));
    for (const uint32_t ost : osts) out.U32(ost);
  }
  return out.Take();
}

Result<OstPools> DecodePools(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  if (version > kPoolsVersion) {
    return Fail(Errc::kBadVersion, "pools of OSTs: written by a newer version of Sheen");
  }
  OstPools pools;
  bool valid = version == kPoolsVersion;
  const uint32_t count = in.U32();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const std::string name(in.Bytes());
    valid = valid && layout::ValidPoolName(name) && !pools.contains(name);
    std::set<uint32_t>& osts = pools[name];
    const uint32_t members = in.U32();
    for (uint32_t m = 0; m < members && in.ok(); ++m) osts.insert(in.U32());
    valid = valid && osts.size() == members;
  }
  if (!in.done() || !valid) return Fail(Errc::kCorrupt, "pools of OSTs: the record is damaged");
  return pools;
}

Result<std::vector<PoolRefusal>> ChangePools(const PoolChange& change,
                                             const std::set<uint32_t>& registered,
                                             OstPools* pools) {
  using Kind = PoolChange::Kind;
  std::vector<PoolRefusal> refused;
  if (change.kind == Kind::kNew) {
    SHEEN_TRY(CheckNewPool(change, *pools));
    (*pools)[change.pool];
    return refused;
  }
  const auto pool = pools->find(change.pool);
  if (pool == pools->end()) {
    return Fail(Errc::kNoEntry, "Pool " + NameOf(change) + " not found; lctl pool_list " +
                                    change.fsname + " names those that there are");
  }
  if (change.kind == Kind::kDestroy) {
    if (!pool->second.empty()) {
      return Fail(Errc::kNotEmpty, "Pool " + NameOf(change) +
                                       " is not empty: remove its OSTs first (lctl pool_remove)");
    }
    pools->erase(pool);
    return refused;
  }
  size_t others = 0;  // members of other pools
  for (const auto& [name, members] : *pools) others += members.size();
  others -= pool->second.size();
  for (const uint32_t ost : change.osts) {
    const size_t used = std::min(kPoolMembersMax, others + pool->second.size());
    const Status done =
        ChangeMember(change, ost, registered, &pool->second, kPoolMembersMax - used);
    if (!done) refused.push_back({ost, done.error()});
  }
  return refused;
}

Status CheckPoolOf(const layout::Component& component, const OstPools& pools) {
  if (component.pool.empty() || component.pool == layout::kIgnorePool) return {};
  const auto pool = pools.find(component.pool);
  if (pool == pools.end()) {
    return Fail(Errc::kInvalid, "pool '" + component.pool + "' does not exist");
  }
  if (pool->second.empty()) {
    return Fail(Errc::kInvalid, "pool '" + component.pool + "' has no OSTs");
  }
  const auto check = [&](uint32_t ost) -> Status {
    if (pool->second.contains(ost)) return {};
    return Fail(Errc::kInvalid, fmt::format("OST {} is not in pool '{}'", ost, component.pool));
  };
  for (const uint32_t ost : component.wanted_osts) SHEEN_TRY(check(ost));
  if (component.first_ost != layout::kAnyOst) SHEEN_TRY(check(component.first_ost));
  return {};
}

}  // namespace sheen::mds
