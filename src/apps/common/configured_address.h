// Where a server of this host listens for administrators, by its configuration file.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "rpc/link.h"
#include "sheen/result.h"

namespace sheen::apps {

// `listen` and `control-port` of the file, or 127.0.0.1 and `default_port` where it has none or is
// not there. Errors: kInvalid (it is no TOML), the file's.
Result<rpc::Address> ConfiguredControl(const std::string& path, uint16_t default_port);

}  // namespace sheen::apps
