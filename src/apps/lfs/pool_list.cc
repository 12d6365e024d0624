// lfs pool_list: the pools of a filesystem, or the OSTs of one.
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/lfs/command.h"
#include "apps/lfs/mounted.h"
#include "apps/lfs/options.h"
#include "apps/lfs/pools.h"
#include "layout/ost_name.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "pool_list";
constexpr int kJson = 256;

void PrintNames(const v1::OstPoolList& pools) {
  fmt::print("Pools from {}:\n", pools.fsname());
  for (const v1::OstPool& pool : pools.pools()) {
    fmt::print("{}.{}\n", pools.fsname(), pool.name());
  }
}

int PrintMembers(const v1::OstPoolList& pools, const std::string& name) {
  const auto members = MembersOfPool(pools, name);
  if (!members) return ReportError(kCommand, members.error().message(), members.error());
  fmt::print("Pool: {}\n", name);
  for (const uint32_t ost : *members) fmt::print("{}\n", layout::OstUuidName(pools.fsname(), ost));
  return 0;
}

// Of the one pool, or of all.
int PrintJson(const v1::OstPoolList& pools, const std::string& name) {
  if (!name.empty()) {
    const auto members = MembersOfPool(pools, name);
    if (!members) return ReportError(kCommand, members.error().message(), members.error());
  }
  nlohmann::json out = nlohmann::json::object();
  for (const v1::OstPool& pool : pools.pools()) {
    const std::string full = pools.fsname() + "." + pool.name();
    if (!name.empty() && name != full) continue;
    auto osts = nlohmann::json::array();
    for (const uint32_t ost : pool.osts()) osts.push_back(layout::OstUuidName(pools.fsname(), ost));
    out[full] = std::move(osts);
  }
  fmt::print("{}\n", out.dump(2));
  return 0;
}

struct Wanted {
  std::string path;  // on the mount
  std::string pool;  // "sheen.flash"; empty: all
};

// A mount point or path, a filesystem's name, or a pool's. Errors: kNoEntry.
Result<Wanted> Locate(const std::string& given) {
  if (given.find('/') != std::string::npos || given == ".") return Wanted{given, {}};
  const std::string fsname = given.substr(0, given.find('.'));
  SHEEN_TRY_ASSIGN(std::vector<MountEntry> mounts, ReadMounts());
  // Of several of the name that which we are in.
  std::error_code error;
  const std::string here = std::filesystem::current_path(error);
  if (auto own = error ? std::nullopt : MountOf(mounts, here)) mounts.insert(mounts.begin(), *own);
  for (const MountEntry& mount : mounts) {
    if (mount.fsname != fsname) continue;
    return Wanted{mount.directory, fsname == given ? std::string() : given};
  }
  return Fail(Errc::kNoEntry, "no filesystem '" + fsname + "' is mounted");
}

}  // namespace

int RunPoolList(const Arguments& args) {
  static constexpr OptionSpec kSpecs[] = {{kJson, "json"}};
  OptionReader reader(args, kSpecs);
  bool json = false;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(kCommand, option.error());
    if (!option->has_value()) break;
    json = true;
  }
  const Arguments rest = reader.Rest();
  if (rest.size() != 1) {
    return ReportOptionError(kCommand, {"one filesystem, pool or mount point is needed"});
  }
  const auto wanted = Locate(rest[0]);
  if (!wanted) return ReportError(kCommand, wanted.error().message(), wanted.error());
  return ForEachMount(kCommand, {wanted->path}, [&](const Mounted& mounted) {
    const auto pools = mounted.device->Pools();
    if (!pools) {
      return ReportError(kCommand, "cannot get the pools of '" + mounted.path + "'",
                         pools.error());
    }
    if (json) return PrintJson(*pools, wanted->pool);
    if (!wanted->pool.empty()) return PrintMembers(*pools, wanted->pool);
    PrintNames(*pools);
    return 0;
  });
}

}  // namespace sheen::lfs
