// lctl: the administrator's commands, as Lustre's.
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <system_error>

#include "apps/lctl/command.h"
#include "base/log.h"

namespace sheen::lctl {
namespace {

// Commands from standard input, one a line; the status of the last that failed.
int RunLines(const Context& context) {
  int status = 0;
  const bool prompts = ::isatty(STDIN_FILENO) != 0;
  for (std::string line;;) {
    if (prompts) fmt::print("lctl > ");
    std::fflush(stdout);
    if (!std::getline(std::cin, line)) break;
    std::istringstream words(line);
    Arguments args;
    for (std::string word; words >> word;) args.push_back(word);
    if (args.empty() || args[0].starts_with('#')) continue;
    if (args[0] == "quit" || args[0] == "exit") break;
    const int one = RunCommand(context, args);
    if (one != 0) status = one;
  }
  return status;
}

int Run(int argc, char** argv) {
  LogToStderr("lctl");
  SetLogLevel(LogLevel::Error);
  ::signal(SIGPIPE, SIG_DFL);
  Context context;
  int at = 1;
  for (; at + 1 < argc; at += 2) {
    const std::string option = argv[at];
    if (option == "--server") {
      context.server = argv[at + 1];
    } else if (option == "--device") {
      context.device = argv[at + 1];
    } else {
      break;
    }
  }
  if (at >= argc) return RunLines(context);
  Arguments args(argv + at, argv + argc);
  if (args[0] == "--version" || args[0] == "-V") args[0] = "version";
  if (args[0] == "--help" || args[0] == "-h") args[0] = "help";
  const int status = RunCommand(context, args);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  fmt::print(stderr, "lctl: cannot write the output\n");
  return status == 0 ? 1 : status;
}

int Main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::system_error& error) {  // fmt's, of a full disk
    std::fprintf(stderr, "lctl: cannot write the output: %s\n", error.code().message().c_str());
    return 1;
  }
}

}  // namespace
}  // namespace sheen::lctl

int main(int argc, char** argv) { return sheen::lctl::Main(argc, argv); }
