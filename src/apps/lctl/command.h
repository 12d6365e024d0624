// The commands of lctl; commands.cc lists them. Single-threaded, as the whole program is.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/lfs/options.h"
#include "sheen/result.h"

namespace sheen::lctl {

// As Lustre's tools: wrong usage prints the usage on stdout.
inline constexpr int kStatusUsage = 4;
inline constexpr int kStatusUnknownCommand = 1;

using Arguments = std::vector<std::string>;

// What was given in front of the command.
struct Context {
  std::string server;  // HOST:CONTROLPORT; empty: the daemons of this host
  std::string device;  // --device
};

struct Command {
  const char* name;
  const char* usage;  // lines, without the command's name in front
  int (*run)(const Context& context, const Arguments& args);
};

std::span<const Command> Commands();
// Runs args[0]. Returns the exit status: 0, an errno, or one of the above.
int RunCommand(const Context& context, const Arguments& args);
// Message on stderr, usage on stdout. Returns kStatusUsage, or the error's own status.
int ReportUsage(const std::string& command, const lfs::OptionError& error);
// "error: get_param: MESSAGE: No such file or directory" on stderr. Returns the errno.
int ReportError(const std::string& command, const Error& error);

int RunGetParam(const Context& context, const Arguments& args);
int RunSetParam(const Context& context, const Arguments& args);
int RunListParam(const Context& context, const Arguments& args);
int RunDeviceList(const Context& context, const Arguments& args);
int RunListNids(const Context& context, const Arguments& args);
int RunPing(const Context& context, const Arguments& args);
int RunChangelogRegister(const Context& context, const Arguments& args);
int RunChangelogDeregister(const Context& context, const Arguments& args);
int RunPoolNew(const Context& context, const Arguments& args);
int RunPoolAdd(const Context& context, const Arguments& args);
int RunPoolRemove(const Context& context, const Arguments& args);
int RunPoolDestroy(const Context& context, const Arguments& args);
int RunPoolList(const Context& context, const Arguments& args);
int RunHelp(const Context& context, const Arguments& args);
int RunVersion(const Context& context, const Arguments& args);
int RunListCommands(const Context& context, const Arguments& args);

}  // namespace sheen::lctl
