// `sheen doctor`: looks at this host and its daemons for what commonly goes wrong, and says for
// each finding what to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rpc/address.h"
#include "sheen/result.h"

namespace sheen::apps {

enum class Health : uint8_t { kGood, kWarning, kBad };

struct Finding {
  Health health = Health::kGood;
  std::string check;  // "clock"
  std::string what;
  std::string cure;  // empty when good
};

struct DoctorOptions {
  std::string directory;  // its disk is tried with synced writes; empty: not
  std::optional<rpc::Address> mgs;  // the cluster is looked at from here, too
  bool json = false;
};

// Prints the findings. Errors: kIo when one is bad, with how many.
Status RunDoctor(const DoctorOptions& options);

// ---- pure parts ----
// "6.14.0-rc2": {6, 14}; {0, 0} for other text.
std::pair<int, int> KernelVersionOf(const std::string& release);
// Of synced writes of 4 KiB, in microseconds.
Finding JudgeSyncs(const std::vector<uint64_t>& micros, const std::string& directory,
                   bool in_memory);
std::string FormatFindings(const std::vector<Finding>& findings);

}  // namespace sheen::apps
