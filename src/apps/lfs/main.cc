// lfs: the user's command, as Lustre's. `lfs COMMAND ...` runs one; `lfs` alone asks for commands.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <system_error>

#include "apps/lfs/command.h"

namespace {

// Words are separated by blanks; there is no quoting, as in Lustre's prompt.
int RunInteractive() {
  const bool prompt = ::isatty(STDIN_FILENO) != 0;
  int status = 0;
  std::string line;
  for (;;) {
    if (prompt) fmt::print("lfs > ");
    std::fflush(stdout);
    if (!std::getline(std::cin, line)) return status;
    std::istringstream words(line);
    sheen::lfs::Arguments args;
    for (std::string word; words >> word;) args.push_back(word);
    if (args.empty()) continue;
    if (args[0] == "exit" || args[0] == "quit") return status;
    status = sheen::lfs::RunCommand(args);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  try {
    status = argc < 2 ? RunInteractive()
                      : sheen::lfs::RunCommand(sheen::lfs::Arguments(argv + 1, argv + argc));
  } catch (const std::system_error& error) {  // fmt's, of a full disk
    std::fprintf(stderr, "lfs: write to standard output: %s\n", error.code().message().c_str());
    return 1;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::perror("lfs: write to standard output");
    return 1;
  }
  return status & 0xff;
}
