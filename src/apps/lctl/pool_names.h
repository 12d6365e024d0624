// Names of pools and OSTs as lctl's pool commands take them. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::lctl {

struct PoolName {
  std::string fsname;
  std::string pool;  // empty: none was given
};
// "sheen.flash", "sheen".
PoolName ParsePoolName(const std::string& text);

// OST indexes of "OST0001", "sheen-OST0001_UUID", "OST[0-3,a]", "sheen-OST[0-f/2]_UUID": they are
// hexadecimal, as in the targets' names; "/2" takes every second. In order, each once. Errors:
// kInvalid (says which text; also another filesystem's OST).
Result<std::vector<uint32_t>> ParseOstNames(const std::string& fsname, const std::string& text);

}  // namespace sheen::lctl
