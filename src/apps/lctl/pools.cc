// pool_new, pool_add, pool_remove, pool_destroy, pool_list. What was done is said on stderr, as
// Lustre's lctl does.
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <set>

#include "apps/lctl/command.h"
#include "apps/lctl/daemons.h"
#include "apps/lctl/pool_names.h"
#include "layout/ost_name.h"

namespace sheen::lctl {
namespace {

// Of "FSNAME.POOL". Errors: kInvalid.
Result<v1::PoolRequest> RequestFor(v1::PoolAction action, const std::string& name) {
  const PoolName parsed = ParsePoolName(name);
  if (parsed.fsname.empty() || parsed.pool.empty()) {
    return Fail(Errc::kInvalid, "pool '" + name + "' must be named as FSNAME.POOL");
  }
  v1::PoolRequest request;
  request.set_fsname(parsed.fsname);
  request.set_action(action);
  request.set_pool(parsed.pool);
  return request;
}

int ChangeWhole(const Context& context, const Arguments& args, v1::PoolAction action,
                const char* done) {
  if (args.size() != 2) return ReportUsage(args[0], {"one pool is needed, as sheen.flash"});
  auto request = RequestFor(action, args[1]);
  if (!request) return ReportError(args[0], request.error());
  const auto reply = AskPools(context, std::move(*request));
  if (!reply) return ReportError(args[0], reply.error());
  fmt::print(stderr, "Pool {} {}\n", args[1], done);
  if (action == v1::POOL_DESTROY) {
    fmt::print(stderr,
               "Directories whose default layout names {0} make no new files any more (ENOSPC): "
               "find them with lfs find --pool {1} --type d, and give them another with lfs "
               "setstripe.\n",
               args[1], ParsePoolName(args[1]).pool);
  }
  return 0;
}

int ChangeMembers(const Context& context, const Arguments& args, v1::PoolAction action) {
  if (args.size() < 3) {
    return ReportUsage(args[0], {"a pool and OSTs are needed, as sheen.flash OST[0-3]"});
  }
  auto request = RequestFor(action, args[1]);
  if (!request) return ReportError(args[0], request.error());
  const std::string fsname = request->fsname();
  std::vector<uint32_t> osts;
  std::set<uint32_t> seen;
  for (size_t i = 2; i < args.size(); ++i) {
    const auto parsed = ParseOstNames(fsname, args[i]);
    if (!parsed) return ReportError(args[0], parsed.error());
    for (const uint32_t ost : *parsed) {
      if (seen.insert(ost).second) osts.push_back(ost);
    }
  }
  request->mutable_osts()->Add(osts.begin(), osts.end());
  const auto reply = AskPools(context, std::move(*request));
  if (!reply) return ReportError(args[0], reply.error());
  int status = 0;
  int at = 0;
  for (const uint32_t ost : osts) {
    if (at < reply->refused_size() && reply->refused(at).ost() == ost) {
      const auto& refused = reply->refused(at++);
      status = ReportError(args[0], Error(static_cast<Errc>(refused.errc()), refused.message()));
      continue;
    }
    fmt::print(stderr, "OST {} {} pool {}\n", layout::OstUuidName(fsname, ost),
               action == v1::POOL_ADD ? "added to" : "removed from", args[1]);
  }
  return status;
}

void PrintPools(const std::string& fsname, bool one, const v1::PoolReply& reply) {
  if (!one) fmt::print("Pools from {}:\n", fsname);
  for (const v1::OstPool& pool : reply.pools()) {
    if (!one) {
      fmt::print("{}.{}\n", fsname, pool.name());
      continue;
    }
    fmt::print("Pool: {}.{}\n", fsname, pool.name());
    for (const uint32_t ost : pool.osts()) fmt::print("{}\n", layout::OstUuidName(fsname, ost));
  }
}

}  // namespace

int RunPoolNew(const Context& context, const Arguments& args) {
  return ChangeWhole(context, args, v1::POOL_NEW, "created");
}

int RunPoolDestroy(const Context& context, const Arguments& args) {
  return ChangeWhole(context, args, v1::POOL_DESTROY, "destroyed");
}

int RunPoolAdd(const Context& context, const Arguments& args) {
  return ChangeMembers(context, args, v1::POOL_ADD);
}

int RunPoolRemove(const Context& context, const Arguments& args) {
  return ChangeMembers(context, args, v1::POOL_REMOVE);
}

int RunPoolList(const Context& context, const Arguments& args) {
  const bool json = args.size() == 3 && args[1] == "--json";
  if (args.size() != 2 && !json) return ReportUsage("pool_list", {"one filesystem or pool"});
  const PoolName name = ParsePoolName(args.back());
  if (name.fsname.empty() || name.fsname.starts_with('-')) {
    return ReportUsage("pool_list", {"'" + args.back() + "' is no filesystem's name"});
  }
  v1::PoolRequest request;
  request.set_fsname(name.fsname);
  request.set_pool(name.pool);
  const auto reply = AskPools(context, std::move(request));
  if (!reply) return ReportError("pool_list", reply.error());
  if (!json) {
    PrintPools(name.fsname, !name.pool.empty(), *reply);
    return 0;
  }
  nlohmann::json out = nlohmann::json::object();
  for (const v1::OstPool& pool : reply->pools()) {
    auto osts = nlohmann::json::array();
    for (const uint32_t ost : pool.osts()) osts.push_back(layout::OstUuidName(name.fsname, ost));
    out[name.fsname + "." + pool.name()] = std::move(osts);
  }
  fmt::print("{}\n", out.dump(2));
  return 0;
}

}  // namespace sheen::lctl
