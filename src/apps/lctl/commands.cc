#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "apps/common/version.h"
#include "apps/lctl/command.h"

namespace sheen::lctl {
namespace {

constexpr char kDeviceListUsage[] =
    "[-t|--target] [--json]\n"
    "\tlists the devices of this host's daemons\n"
    "\t-t: also the server that a client's device is connected to, as 10.0.0.1@tcp\n";

constexpr Command kCommands[] = {
    {"get_param",
     "[-n|--no-name] [-N|--only-name] [-F|--classify] [-y|--yaml] [--json] PARAM_PATH ...\n"
     "\tprints the parameters that match; *, ? and [] match within one level:\n"
     "\t  lctl get_param mdt.*.md_stats\n"
     "\t-n: values only  -N: names only  -F: with -N, \"=\" after names that can be set\n",
     RunGetParam},
    {"set_param",
     "[-n|--no-name] [-P|--perm [-d|--delete]] PARAM_PATH=VALUE ...\n"
     "\tsets parameters on every daemon of this host that has them, until it ends\n"
     "\t-P: the management service keeps the setting and gives it to all servers and clients,\n"
     "\t    now and when they start; to be run on its host. -d: not any more\n"
     "\t-n: does not print what was set\n",
     RunSetParam},
    {"list_param",
     "[-F|--classify] [-R|--recursive] [-w|--writable] [--json] PARAM_PATH ...\n"
     "\tprints the names of parameters that match, and of those one level below (-R: all)\n",
     RunListParam},
    {"dl", kDeviceListUsage, RunDeviceList},
    {"device_list", kDeviceListUsage, RunDeviceList},
    {"list_nids", "[all] [--json]\n\tprints this host's network ids\n", RunListNids},
    {"ping",
     "HOST[:PORT][@tcp] [TIMEOUT]\n"
     "\tasks whether a Sheen server answers there (data port; default 7988, then 7990)\n",
     RunPing},
    {"changelog_register",
     "[-n|--nameonly] [-u|--user NAME] [-m|--mask TYPES]\n"
     "\tregisters a user of an MDT's changelog, from now on: lctl --device sheen-MDT0000 ...\n"
     "\t-n: prints the user's id alone  -u: gives it a name  -m: only these record types, as\n"
     "\t    CREAT,UNLNK\n",
     RunChangelogRegister},
    {"changelog_deregister",
     "USER | -u|--user NAME\n"
     "\tforgets a user of an MDT's changelog, and the records that only it still needed\n",
     RunChangelogDeregister},
    {"pool_new",
     "FSNAME.POOL\n"
     "\tmakes a pool of OSTs, empty: 1 to 15 of A-Z a-z 0-9 _ -; to be run on the MGS's host\n",
     RunPoolNew},
    {"pool_add",
     "FSNAME.POOL OST ...\n"
     "\tadds OSTs: OST0001, sheen-OST0001_UUID, OST[0-3,a] (hexadecimal, as in the names)\n",
     RunPoolAdd},
    {"pool_remove",
     "FSNAME.POOL OST ...\n"
     "\tremoves OSTs from a pool; files stay where they are\n",
     RunPoolRemove},
    {"pool_destroy", "FSNAME.POOL\n\tdestroys a pool that is empty\n", RunPoolDestroy},
    {"pool_list",
     "[--json] FSNAME[.POOL]\n\tlists the pools, or the OSTs of one\n", RunPoolList},
    {"help", "[COMMAND]\n", RunHelp},
    {"version", "\n", RunVersion},
    {"--list-commands", "\n", RunListCommands},
};

// Commands of Lustre's lctl that Sheen does not have (yet): refused by name.
constexpr const char* kMissing[] = {"abort_recovery",
                                    "abort_recovery_mdt",
                                    "activate",
                                    "apply_yaml",
                                    "barrier_freeze",
                                    "barrier_stat",
                                    "barrier_thaw",
                                    "clear",
                                    "conf_param",
                                    "deactivate",
                                    "debug_kernel",
                                    "dk",
                                    "find_param",
                                    "help_param",
                                    "lfsck_query",
                                    "lfsck_start",
                                    "lfsck_stop",
                                    "mark",
                                    "network",
                                    "nodemap",
                                    "nodemap_add",
                                    "recover",
                                    "snapshot_create",
                                    "snapshot_destroy",
                                    "snapshot_list",
                                    "snapshot_mount",
                                    "which_nid"};

const Command* Find(const std::string& name) {
  const auto found = std::ranges::find_if(
      kCommands, [&name](const Command& command) { return name == command.name; });
  return found == std::end(kCommands) ? nullptr : found;
}

void PrintUsage(const Command& command) {
  fmt::print("usage: lctl {} {}", command.name, command.usage);
}

}  // namespace

std::span<const Command> Commands() { return kCommands; }

int RunCommand(const Context& context, const Arguments& args) {
  const std::string& name = args[0];
  const Command* const command = Find(name);
  if (command != nullptr) {
    if (args.size() == 2 && args[1] == "--help") return RunHelp(context, {"help", name});
    return command->run(context, args);
  }
  if (std::ranges::find(kMissing, name) != std::end(kMissing)) {
    fmt::print(stderr, "lctl {}: not implemented in Sheen {}: {} ({})\n", name, apps::kVersion,
               std::strerror(EOPNOTSUPP), EOPNOTSUPP);
    return EOPNOTSUPP;
  }
  fmt::print(stderr, "lctl: '{}' is not a valid command. See 'lctl --list-commands'.\n", name);
  return kStatusUnknownCommand;
}

int ReportUsage(const std::string& command, const lfs::OptionError& error) {
  fmt::print(stderr, "lctl {}: {}\n", command, error.message);
  if (error.status != kStatusUsage) return error.status;
  if (const Command* const found = Find(command)) PrintUsage(*found);
  return kStatusUsage;
}

int ReportError(const std::string& command, const Error& error) {
  const int number = ErrnoOf(error.code());
  fmt::print(stderr, "error: {}: {}: {}\n", command, error.message(), std::strerror(number));
  return number;
}

int RunHelp(const Context&, const Arguments& args) {
  if (args.size() > 1) {
    const Command* const command = Find(args[1]);
    if (command != nullptr) {
      PrintUsage(*command);
      return 0;
    }
    fmt::print(stderr, "lctl: no help for '{}': no such command\n", args[1]);
    return kStatusUnknownCommand;
  }
  fmt::print(
      "lctl: looks at and turns the Sheen daemons of this host\n"
      "usage: lctl [--server HOST:CONTROLPORT] [--device NAME] COMMAND [ARGUMENT ...]\n"
      "       lctl                      reads commands from standard input\n"
      "\t--server: reads parameters of this server only, through its control port\n"
      "Daemons are found by their sockets in /run/sheen, in ~/.local/state/sheen/run, or in\n"
      "$SHEEN_RUN_DIR.\n\nCommands:\n");
  for (const Command& command : kCommands) {
    if (command.name[0] != '-') fmt::print("  {} {}", command.name, command.usage);
  }
  return 0;
}

int RunVersion(const Context&, const Arguments&) {
  fmt::print("lctl {}\n", apps::kVersion);
  return 0;
}

int RunListCommands(const Context&, const Arguments&) {
  for (const Command& command : kCommands) {
    if (command.name[0] != '-') fmt::print("{}\n", command.name);
  }
  return 0;
}

}  // namespace sheen::lctl
