// Times that `lfs find -newerXY` compares with: those of a file, or one that is written out.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "apps/lfs/command.h"

namespace sheen::lfs {

// "@1714557600", "2024-05-01", "2024-05-01 10:00", "2024-05-01T10:00:30" (or a blank in place of
// T), in nanoseconds since 1970; local time where it is not "@".
std::optional<int64_t> ParseMoment(const std::string& text);

// Of -newerXY: what `y` says about `value`: a file's times 'a', 'c' and 'm', or 't' as above.
// Errors: usage, or the errno of the file's stat(2).
std::expected<int64_t, OptionError> ReferenceTime(char y, const std::string& option,
                                                  const std::string& value);

}  // namespace sheen::lfs
