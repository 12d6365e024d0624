// The command line of `lfs find` as tests and an output form. Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "apps/lfs/command.h"
#include "apps/lfs/component_flags.h"

namespace sheen::lfs {

// What a test looks at.
enum class FindField : uint8_t {
  kName,
  kType,
  kSize,
  kAccessed,
  kModified,
  kChanged,
  kUser,
  kGroup,
  kLinks,
  kPermissions,
  kNewer,
  // These need the file's layout.
  kStripeCount,
  kStripeBytes,
  kStripeIndex,
  kOst,
  kMdt,
  kLayout,
  kComponentCount,
  kComponentStart,
  kComponentEnd,
  kComponentFlags,
  kPool
};

// "+N", "-N" or "N" of a command line.
enum class Relation : int8_t { kLess = -1, kEqual = 0, kMore = 1 };

struct FindTest {
  FindField field = FindField::kName;
  bool negated = false;
  FlagList flags;    // kComponentFlags
  std::string text;  // kName (a glob), kType, kLayout, kPool, kNewer ("a", "c" or "m")
  Relation relation = Relation::kEqual;
  uint64_t number = 0;            // in bytes, seconds or as it is
  uint64_t unit = 1;              // an equal number lies in (number - unit, number]
  std::vector<uint32_t> indexes;  // kOst, kStripeIndex, kMdt
  int64_t time_ns = 0;            // kNewer
};

enum class FindOutput : uint8_t { kLines, kNulls, kFormat, kLong };

struct FindRequest {
  std::vector<FindTest> tests;  // all must hold
  FindOutput output = FindOutput::kLines;
  std::string format;  // kFormat
  uint64_t depth_min = 0;
  uint64_t depth_max = UINT64_MAX;
  Arguments paths;
};

bool NeedsLayout(FindField field);
// Errors: usage, or with the errno of what cannot be done.
std::expected<FindRequest, OptionError> ParseFind(const Arguments& args);
// Does `value` stand in the test's relation to its number? Times: ages in seconds.
bool Holds(const FindTest& test, uint64_t value);
bool HoldsForAge(const FindTest& test, int64_t age_seconds);

}  // namespace sheen::lfs
