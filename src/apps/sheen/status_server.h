// Which daemon `sheen status` asks when none is named.
//
// Blocking; for a command's main thread.
#pragma once

#include <string>

#include "sheen/result.h"

namespace sheen::apps {

// The status, as ClusterStatus gives it, of the first that answers: the MDS of this host as it is
// configured (or by default), an instance of `sheen dev`, the OSS of this host.
// Errors: kUnavailable (nobody answers: says who was asked, and what there is to ask),
// kInvalid (several instances), and those of ClusterStatus.
Result<std::string> StatusOfWhoeverAnswers(bool as_json);
// Of the MDS of that instance. Errors: kNoEntry, kUnavailable (it does not run).
Result<std::string> StatusOfInstance(const std::string& name, bool as_json);

}  // namespace sheen::apps
