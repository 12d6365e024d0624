// Values of options, as IOR and mdtest take them. Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "sheen/result.h"

namespace sheen::bench {

// A number and k, m, g, t (powers of 1024, either case), as 64k or 1.5m. `option` is how the option
// is called in the message. Errors: kInvalid.
Result<uint64_t> ParseSize(std::string_view option, const char* text);
// A decimal number in [least, most]. Errors: kInvalid.
Result<uint32_t> ParseCount(std::string_view option, const char* text, uint32_t least,
                            uint32_t most);

}  // namespace sheen::bench
