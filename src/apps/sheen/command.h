// OutputOf: what another program prints, without a shell, never waiting for it longer than said.
//
// Blocking; for a command's main thread.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "sheen/result.h"

namespace sheen::apps {

struct CommandLimits {
  Nanos patience = std::chrono::seconds(10);
  size_t bytes_max = 4 << 20;  // of the output, its end is cut off
};

// Standard output and standard error of `words`, words[0] looked for in the PATH; standard input is
// empty. A program that ends with an error has its output given all the same, with a line about it.
// Errors: kNoEntry (no such program), kTimedOut (it has been killed), the kernel's.
Result<std::string> OutputOf(const std::vector<std::string>& words, CommandLimits limits = {});

}  // namespace sheen::apps
