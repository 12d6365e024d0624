#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/common/version.h"
#include "apps/lfs/command.h"
#include "apps/lfs/usage.h"

namespace sheen::lfs {

namespace {

constexpr Command kCommands[] = {
    {"setstripe", kSetstripeUsage, RunSetstripe},
    {"getstripe",
     "[--stripe-count|-c] [--stripe-index|-i] [--stripe-size|-S] [--pool|-p] [--layout|-L]\n"
     "          [--generation|-g] [--fid|-F] [--mdt-index|-m] [--mirror-count|-N]\n"
     "          [--component-end|-E[=[+-]END]] [--component-start[=[+-]START]]\n"
     "          [--component-id[=ID]|-I[ID]] [--obd|-O OST] [--hex-idx] [--no-follow]\n"
     "          [--component-count] [--component-flags[=FLAGS]] [--mirror-id[=[^]ID]]\n"
     "          [--directory|-d] [--default|-D] [--recursive|-r] [--raw|-R] [--quiet|-q]\n"
     "          [--verbose|-v] [--yaml|-y] DIRECTORY|FILENAME ...\n",
     RunGetstripe},
    {"df",
     "[--inodes|-i] [--human-readable|-h] [--si|-H] [--lazy|-l] [--mdt|-m[MDT_IDX]]\n"
     "          [--ost|-o[OST_IDX]] [--pool|-p POOL] [--no-header|-N] [--verbose|-v] [PATH]\n",
     RunDf},
    {"find", kFindUsage, RunFind},
    {"osts", "[MOUNT_POINT]\n", RunOsts},
    {"mdts", "[MOUNT_POINT]\n", RunMdts},
    {"pool_list",
     "[--json] FSNAME[.POOL]|MOUNT_POINT\n\tlists the pools of OSTs, or the OSTs of one\n",
     RunPoolList},
    {"check", "mgts|osts|mds|mdts|servers|all [MOUNT_POINT]\n", RunCheck},
    {"getname", "[-i|--instance] [-n|--fsname] [-u|--uuid] [--help|-h] [MOUNT_POINT ...]\n",
     RunGetname},
    {"flushctx", "[-k] [-r] [MOUNT_POINT ...]\n", RunFlushctx},
    {"getdirstripe",
     "[--mdt-count|-c] [--mdt-index|-i|-m] [--mdt-hash|-H] [--default|-D] [--recursive|-r]\n"
     "          [--yaml|-y] [--verbose|-v] DIRECTORY ...\n",
     RunGetdirstripe},
    {"mkdir",
     "[--mdt-index|-i INDEX] [--mdt-count|-c COUNT] [--mode|-o MODE] DIRECTORY ...\n"
     "\tthere is one MDT: index 0 or -1 (any), count 0, 1 or -1\n",
     RunMkdir},
    {"setdirstripe",
     "[--mdt-index|-i INDEX] [--mdt-count|-c COUNT] [--mode|-o MODE] DIRECTORY ...\n",
     RunMkdir},
    {"path2fid", "PATH ...\n", RunPath2Fid},
    {"fid2path",
     "[--print-fid|-f] [--link|-l LINK_NUMBER] [--name|-n] [--null|-0]\n"
     "          FSNAME|MOUNT_POINT FID ...\n",
     RunFid2Path},
    {"changelog", kChangelogUsage, RunChangelog},
    {"changelog_clear",
     "MDTNAME|MOUNT_POINT USER ENDREC\n"
     "\tUSER (cl1) is done with the records up to ENDREC (0: all); what all users are done\n"
     "\twith is gone\n",
     RunChangelogClear},
    {"hsm_state", "FILE ...\n", RunHsmState},
    {"hsm_set",
     "[--norelease|-r] [--noarchive|-A] [--dirty|-d] [--exists|-e] [--archived|-a] [--lost|-l]\n"
     "          [--archive-id|-i ID] FILE ...\n",
     RunHsmSet},
    {"hsm_clear",
     "[--norelease|-r] [--noarchive|-A] [--dirty|-d] [--exists|-e] [--archived|-a] [--lost|-l]\n"
     "          FILE ...\n",
     RunHsmClear},
    {"hsm_action", "FILE ...\n", RunHsmAction},
    {"hsm_restore", "[--filelist|-l LIST] FILE ...\n", RunHsmRestore},
    {"hsm_release", "[--filelist|-l LIST] FILE ...\n", RunHsmRelease},
    {"hsm_cancel", "[--filelist|-l LIST] FILE ...\n", RunHsmCancel},
    {"data_version", "[-n|-r|-w] FILENAME ...\n", RunDataVersion},
    {"swap_layouts", "FILENAME1 FILENAME2\n", RunSwapLayouts},
    {"migrate", kMigrateUsage, RunMigrate},
    {"help", "[COMMAND]\n", RunHelp},
    {"version", "\n", RunVersion},
    {"--version", "\n", RunVersion},
    {"-V", "\n", RunVersion},
    {"--list-commands", "\n", RunListCommands},
    {"--help", "\n", RunHelp},
};

constexpr const char* kMissing[] = {
    "rm_entry",     "unlink_foreign", "setquota",
    "quota",        "project",      "rmfid",
    "hsm",          "hsm_archive",  "hsm_remove",
    "mv",           "mirror",      "getsom",     "somsync",         "heat_get",
    "heat_set",     "ladvise",      "pcc"};

const Command* Find(std::string_view name) {
  const auto found = std::ranges::find(kCommands, name, &Command::name);
  return found == std::end(kCommands) ? nullptr : found;
}

// Names that begin with `prefix`; options are no names.
std::vector<std::string_view> NamesFrom(std::string_view prefix) {
  std::vector<std::string_view> out;
  const auto take = [&out, prefix](std::string_view name) {
    if (name.starts_with(prefix) && !name.starts_with('-')) out.push_back(name);
  };
  for (const Command& command : kCommands) take(command.name);
  for (const char* name : kMissing) take(name);
  return out;
}

int RunExactly(std::string_view name, const Arguments& args) {
  const Command* const command = Find(name);
  if (command == nullptr) {
    fmt::print(stderr, "lfs {}: not implemented in Sheen {}: {} ({})\n", name, apps::kVersion,
               std::strerror(EOPNOTSUPP), EOPNOTSUPP);
    return EOPNOTSUPP;
  }
  if (args.size() == 2 && args[1] == "--help") return RunHelp({"help", std::string(name)});
  Arguments full = args;
  full[0] = name;
  return command->run(full);
}

}  // namespace

std::span<const Command> Commands() { return kCommands; }
std::span<const char* const> MissingCommands() { return kMissing; }

int RunCommand(const Arguments& args) {
  const std::string& name = args[0];
  if (Find(name) != nullptr) return RunExactly(name, args);
  const std::vector<std::string_view> candidates = NamesFrom(name);
  if (std::ranges::find(candidates, name) != candidates.end()) return RunExactly(name, args);
  if (candidates.size() == 1 && !name.empty()) return RunExactly(candidates[0], args);
  fmt::print(stderr, "lfs: '{}' is not a valid command. See 'lfs --list-commands'.\n", name);
  return kStatusUnknownCommand;
}

int ReportOptionError(std::string_view command, const OptionError& error) {
  if (error.status != kStatusUsage) {
    fmt::print(stderr, "lfs {}: {}: {} ({})\n", command, error.message, std::strerror(error.status),
               error.status);
    return error.status;
  }
  if (!error.message.empty()) fmt::print(stderr, "lfs {}: {}\n", command, error.message);
  RunHelp({"help", std::string(command)});
  return kStatusUsage;
}

int ReportError(std::string_view command, const std::string& message, const Error& error) {
  const int number = ErrnoOf(error.code());
  std::fflush(stdout);
  fmt::print(stderr, "lfs {}: {}: {} ({})\n", command, message, std::strerror(number), number);
  return number;
}

std::string ErrnoText(const Error& error) { return std::strerror(ErrnoOf(error.code())); }

int RunHelp(const Arguments& args) {
  if (args.size() > 1) {
    const Command* const command = Find(args[1]);
    if (command == nullptr) {
      fmt::print(stderr, "lfs: '{}' is not a valid command. See 'lfs --list-commands'.\n", args[1]);
      return kStatusUnknownCommand;
    }
    fmt::print("usage: {} {}", command->name, command->usage);
    return 0;
  }
  fmt::print("Available commands are:\n");
  for (const Command& command : kCommands) {
    if (command.name[0] != '-') fmt::print("\t{}\n", command.name);
  }
  fmt::print("\texit\n\tquit\nFor more help type: help COMMAND\n");
  return 0;
}

int RunVersion(const Arguments& /*args*/) {
  fmt::print("lfs {}\n", apps::kVersion);
  return 0;
}

int RunListCommands(const Arguments& /*args*/) {
  constexpr size_t kPerLine = 4;
  size_t column = 0;
  for (const Command& command : kCommands) {
    if (command.name[0] == '-') continue;
    fmt::print("{:<19}", command.name);
    if (++column % kPerLine == 0) fmt::print("\n");
  }
  if (column % kPerLine != 0) fmt::print("\n");
  return 0;
}

}  // namespace sheen::lfs
