// A program that prints something, as credential_process does, with a bound on how long it may
// take: what hangs would keep a thread, and all who wait for credentials.
#pragma once

#include <string>

#include "base/clock.h"
#include "sheen/result.h"

namespace sheen::s3 {

struct CommandLimits {
  Nanos time = std::chrono::seconds(60);
  size_t output_bytes = 64 * 1024;
};

// Standard output of `sh -c command`, which and whose children are killed when the time is over.
// Blocks. Errors: kPerm (it failed: with its exit status), kTimedOut, kFileTooBig (it prints more),
// and those of starting it.
Result<std::string> RunCommand(const std::string& command, CommandLimits limits = {});

}  // namespace sheen::s3
