// osts, mdts, check, getname, flushctx: what a mount is connected to.
#include <fmt/core.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/lfs/command.h"
#include "apps/lfs/mounted.h"
#include "apps/lfs/options.h"

namespace sheen::lfs {

namespace {

int ListTargets(const Arguments& args, bool mdts) {
  const char* const command = mdts ? "mdts" : "osts";
  if (args.size() > 2) return ReportOptionError(command, {"only one path can be given"});
  return ForEachMount(command, {args.begin() + 1, args.end()}, [&](const Mounted& mounted) {
    const auto targets = mounted.device->Targets();
    if (!targets) {
      return ReportError(command, "cannot get the targets of '" + mounted.path + "'",
                         targets.error());
    }
    fmt::print("{}:\n", mdts ? "MDTS" : "OBDS");
    for (const v1::TargetSpace& target : *targets) {
      if (target.is_mdt() != mdts) continue;
      fmt::print("{}: {}_UUID {}\n", target.index(), target.name(),
                 target.up() ? "ACTIVE" : "INACTIVE");
    }
    return 0;
  });
}

int ReportCheck(const std::string& name, bool up) {
  if (up) {
    fmt::print("{} active.\n", name);
    return 0;
  }
  std::fflush(stdout);
  fmt::print(stderr, "error: check '{}': {} ({})\n", name, std::strerror(EAGAIN), EAGAIN);
  return EAGAIN;
}

std::string HostOf(const std::string& source) {
  const std::string hosts = source.substr(0, source.find(":/"));
  return hosts.substr(0, hosts.find_first_of(",@"));
}

struct Wanted {
  bool osts = false;
  bool mdts = false;
  bool mgts = false;
};

int CheckOne(const Wanted& wanted, const Mounted& mounted) {
  const auto targets = mounted.device->Targets();
  if (!targets) {
    return ReportError("check", "cannot get the targets of '" + mounted.path + "'",
                       targets.error());
  }
  int status = 0;
  const auto check = [&](const std::string& name, bool up) {
    const int one = ReportCheck(name, up);
    if (one != 0) status = one;
  };
  bool mgs_up = false;
  for (const bool mdts : {false, true}) {
    for (const v1::TargetSpace& target : *targets) {
      if (target.is_mdt() != mdts) continue;
      if (mdts && target.index() == 0) mgs_up = target.up();
      if (!(mdts ? wanted.mdts : wanted.osts)) continue;
      check(fmt::format("{}-{}-{}", target.name(), mdts ? "mdc" : "osc", mounted.Instance()),
            target.up());
    }
  }
  if (wanted.mgts) check("MGC" + HostOf(mounted.mount.source) + "@tcp", mgs_up);
  return status;
}

}  // namespace

int RunOsts(const Arguments& args) { return ListTargets(args, false); }

int RunMdts(const Arguments& args) { return ListTargets(args, true); }

int RunCheck(const Arguments& args) {
  if (args.size() < 2 || args.size() > 3) {
    return ReportOptionError("check", {"one of mgts, osts, mds, servers, all is needed"});
  }
  Wanted wanted;
  if (args[1] == "osts") {
    wanted.osts = true;
  } else if (args[1] == "mds" || args[1] == "mdts") {
    wanted.mdts = true;
  } else if (args[1] == "mgts" || args[1] == "mgs") {
    wanted.mgts = true;
  } else if (args[1] == "servers" || args[1] == "all") {
    wanted = {true, true, true};
  } else {
    return ReportOptionError("check", {"unrecognized option '" + args[1] + "'"});
  }
  return ForEachMount("check", {args.begin() + 2, args.end()},
                      [&wanted](const Mounted& mounted) { return CheckOne(wanted, mounted); });
}

int RunGetname(const Arguments& args) {
  static constexpr OptionSpec kSpecs[] = {
      {'i', "instance"}, {'n', "fsname"}, {'u', "uuid"}, {'h', "help"}};
  OptionReader reader(args, kSpecs);
  int shown = 0;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError("getname", option.error());
    if (!option->has_value()) break;
    if ((*option)->letter == 'h') return RunHelp({"help", "getname"});
    shown = (*option)->letter;
  }
  const Arguments paths = reader.Rest();
  return ForEachMount("getname", paths, [&](const Mounted& mounted) {
    std::string name = mounted.mount.fsname + "-" + mounted.Instance();
    if (shown == 'i') name = mounted.Instance();
    if (shown == 'n') name = mounted.mount.fsname;
    if (shown == 'u') name = mounted.client_uuid;
    if (paths.size() == 1) {
      fmt::print("{}\n", name);
    } else {
      fmt::print("{} {}\n", name, mounted.path);
    }
    return 0;
  });
}

// There are no Kerberos contexts to forget: what is asked for is so already.
int RunFlushctx(const Arguments& args) {
  static constexpr OptionSpec kSpecs[] = {{'k', "destroy"}, {'r', "reap"}};
  OptionReader reader(args, kSpecs);
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError("flushctx", option.error());
    if (!option->has_value()) break;
  }
  return ForEachMount("flushctx", reader.Rest(), [](const Mounted&) { return 0; });
}

}  // namespace sheen::lfs
