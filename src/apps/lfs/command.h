// One subcommand of lfs a file; commands.cc lists them. Single-threaded, as the whole program is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::lfs {

// Exit status of wrong usage, as Lustre's tools: the usage text goes to stdout.
inline constexpr int kStatusUsage = 4;
inline constexpr int kStatusUnknownCommand = 1;

// args[0] is the command's name. Returns the exit status: 0, an errno, or one of the above.
using Arguments = std::vector<std::string>;

struct Command {
  const char* name;
  const char* usage;  // lines, without the command's name in front
  int (*run)(const Arguments& args);
};

std::span<const Command> Commands();
// Commands of Lustre's lfs that Sheen does not have (yet): refused by name.
std::span<const char* const> MissingCommands();
// Runs args[0]: an exact name, or the beginning of only one.
int RunCommand(const Arguments& args);

// A problem with the command line. `status` is kStatusUsage, or an errno when there is more to
// say than that the syntax is wrong.
struct OptionError {
  std::string message;
  int status = kStatusUsage;
};
// Message on stderr as "lfs COMMAND: message[: strerror (errno)]", usage on stdout where it
// applies. Returns the status.
int ReportOptionError(std::string_view command, const OptionError& error);

// "lfs COMMAND: message: No such file or directory (2)" on stderr. Returns the errno of `error`.
int ReportError(std::string_view command, const std::string& message, const Error& error);
// "No such file or directory"
std::string ErrnoText(const Error& error);

int RunSetstripe(const Arguments& args);
int RunGetstripe(const Arguments& args);
int RunDf(const Arguments& args);
int RunFind(const Arguments& args);
int RunOsts(const Arguments& args);
int RunMdts(const Arguments& args);
int RunPoolList(const Arguments& args);
int RunCheck(const Arguments& args);
int RunGetname(const Arguments& args);
int RunFlushctx(const Arguments& args);
int RunGetdirstripe(const Arguments& args);
int RunMkdir(const Arguments& args);
int RunPath2Fid(const Arguments& args);
int RunFid2Path(const Arguments& args);
int RunChangelog(const Arguments& args);
int RunChangelogClear(const Arguments& args);
int RunHsmState(const Arguments& args);
int RunHsmSet(const Arguments& args);
int RunHsmClear(const Arguments& args);
int RunHsmAction(const Arguments& args);
int RunHsmRestore(const Arguments& args);
int RunHsmRelease(const Arguments& args);
int RunHsmCancel(const Arguments& args);
int RunDataVersion(const Arguments& args);
int RunSwapLayouts(const Arguments& args);
int RunMigrate(const Arguments& args);
int RunHelp(const Arguments& args);
int RunVersion(const Arguments& args);
int RunListCommands(const Arguments& args);

}  // namespace sheen::lfs
