#include "apps/lfs/pools.h"

#include <fmt/core.h>

#include <algorithm>

namespace sheen::lfs {

namespace {

const v1::OstPool* Find(const v1::OstPoolList& pools, const std::string& name) {
  const auto found = std::ranges::find(pools.pools(), name, &v1::OstPool::name);
  return found == pools.pools().end() ? nullptr : &*found;
}

bool NamesPool(const layout::Component& component) {
  return !component.pool.empty() && component.pool != layout::kIgnorePool;
}

Status CheckPool(const v1::OstPoolList& pools, const layout::Component& component) {
  const std::string& name = component.pool;
  if (!NamesPool(component)) return {};
  const v1::OstPool* const pool = Find(pools, name);
  if (pool == nullptr) {
    return Fail(Errc::kNoEntry,
                fmt::format("pool '{} fsname {} does not exist", name, pools.fsname()));
  }
  if (pool->osts().empty()) {
    return Fail(Errc::kInvalid,
                fmt::format("pool '{} fsname {} has no OSTs", name, pools.fsname()));
  }
  std::vector<uint32_t> asked = component.wanted_osts;
  if (component.first_ost != layout::kAnyOst) asked.push_back(component.first_ost);
  for (const uint32_t ost : asked) {
    if (std::ranges::find(pool->osts(), ost) == pool->osts().end()) {
      return Fail(Errc::kInvalid,
                  fmt::format("OST {} is not in pool '{}' of '{}'", ost, name, pools.fsname()));
    }
  }
  return {};
}

}  // namespace

Result<PoolOption> ParsePoolOption(const std::string& value) {
  const size_t dot = value.find('.');
  PoolOption option;
  if (dot != std::string::npos) option.fsname = value.substr(0, dot);
  option.pool = dot == std::string::npos ? value : value.substr(dot + 1);
  if (option.pool == "none" || option.pool == "inherit") option.pool.clear();
  if (!option.pool.empty() && !layout::ValidPoolName(option.pool))
    return Fail(Errc::kInvalid, "invalid pool name '" + value + "'");
  return option;
}

Result<std::set<uint32_t>> MembersOfPool(const v1::OstPoolList& pools, const std::string& name) {
  const size_t dot = name.find('.');
  if (dot != std::string::npos && name.substr(0, dot) != pools.fsname()) {
    return Fail(Errc::kInvalid, fmt::format("pool '{}' is not one of filesystem '{}'", name,
                                            pools.fsname()));
  }
  const std::string bare = name.substr(dot == std::string::npos ? 0 : dot + 1);
  const v1::OstPool* const pool = Find(pools, bare);
  if (pool == nullptr) {
    return Fail(Errc::kNoEntry,
                fmt::format("pool '{} fsname {} does not exist", bare, pools.fsname()));
  }
  return std::set<uint32_t>(pool->osts().begin(), pool->osts().end());
}

Status CheckPools(const v1::OstPoolList& pools, const layout::Layout& layout_template,
                  const std::string& fsname) {
  if (!fsname.empty() && fsname != pools.fsname()) {
    return Fail(Errc::kInvalid, fmt::format("the pool is one of '{}', this is filesystem '{}'",
                                            fsname, pools.fsname()));
  }
  for (const layout::Component& component : layout_template.components) {
    SHEEN_TRY(CheckPool(pools, component));
  }
  return {};
}

Status CheckPools(const Device& device, const layout::Layout& layout_template,
                  const std::string& fsname) {
  if (fsname.empty() && std::ranges::none_of(layout_template.components, NamesPool)) return {};
  SHEEN_TRY_ASSIGN(const v1::OstPoolList pools, device.Pools());
  return CheckPools(pools, layout_template, fsname);
}

}  // namespace sheen::lfs
