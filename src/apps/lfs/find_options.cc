#include "apps/lfs/find_options.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "apps/lfs/find_time.h"
#include "apps/lfs/parse.h"
#include "layout/layout.h"

namespace sheen::lfs {

namespace {

using Outcome = std::expected<void, OptionError>;

std::unexpected<OptionError> Usage(std::string message) {
  return std::unexpected(OptionError{std::move(message), kStatusUsage});
}

constexpr uint64_t kDay = 86'400;
constexpr uint64_t kBlock = 512;

struct Unit {
  char letter;
  uint64_t seconds;
};
constexpr Unit kTimeUnits[] = {{'s', 1},    {'m', 60},       {'h', 3600},
                               {'d', kDay}, {'w', 7 * kDay}, {'y', 365 * kDay}};

// Takes the sign off.
Relation TakeRelation(std::string* value) {
  if (value->starts_with('+')) {
    value->erase(0, 1);
    return Relation::kMore;
  }
  if (value->starts_with('-')) {
    value->erase(0, 1);
    return Relation::kLess;
  }
  return Relation::kEqual;
}

Outcome TakeSize(const std::string& name, std::string value, uint64_t bare_unit, FindTest* test) {
  test->relation = TakeRelation(&value);
  const auto size = ParseSize(value);
  if (!size) return Usage("bad size '" + value + "' for -" + name);
  test->number = size->bytes;
  test->unit = 1;
  if (size->has_unit) {
    const auto one = ParseSize("1" + value.substr(value.find_first_not_of("0123456789.x")));
    test->unit = one ? one->bytes : 1;
  } else {
    test->number *= bare_unit;
    test->unit = bare_unit;
  }
  return {};
}

Outcome TakeNumber(const std::string& name, std::string value, FindTest* test) {
  test->relation = TakeRelation(&value);
  const auto number = ParseInteger(value);
  if (!number || *number < 0) return Usage("bad number '" + value + "' for -" + name);
  test->number = static_cast<uint64_t>(*number);
  return {};
}

// Stripe sizes and component ends: KiB below 4096, as in setstripe.
Outcome TakeStripeBytes(const std::string& name, std::string value, FindTest* test) {
  test->relation = TakeRelation(&value);
  if (value == "eof" || value == "EOF" || (value == "1" && test->relation == Relation::kLess)) {
    test->relation = Relation::kEqual;
    test->number = layout::kEof;
    return {};
  }
  const auto bytes = ParseStripeBytes(value);
  if (!bytes) return Usage("bad size '" + value + "' for -" + name);
  test->number = *bytes;
  return {};
}

Outcome TakeTime(const std::string& name, std::string value, FindTest* test) {
  test->relation = TakeRelation(&value);
  test->unit = kDay;
  if (!value.empty()) {
    const auto unit = std::ranges::find(kTimeUnits, value.back(), &Unit::letter);
    if (unit != std::end(kTimeUnits)) {
      test->unit = unit->seconds;
      value.pop_back();
    }
  }
  const auto number = ParseInteger(value);
  if (!number || *number < 0 || *number > INT32_MAX) {
    return Usage("bad time '" + value + "' for -" + name);
  }
  test->number = static_cast<uint64_t>(*number) * test->unit;
  return {};
}

Outcome TakeOwner(const std::string& name, const std::string& value, FindTest* test) {
  if (const auto id = ParseInteger(value); id && *id >= 0) {
    test->number = static_cast<uint64_t>(*id);
    return {};
  }
  const passwd* const user = test->field == FindField::kUser ? ::getpwnam(value.c_str()) : nullptr;
  const group* const team = test->field == FindField::kGroup ? ::getgrnam(value.c_str()) : nullptr;
  if (user == nullptr && team == nullptr) {
    return std::unexpected(OptionError{"-" + name + " '" + value + "' is not known", EINVAL});
  }
  test->number = user != nullptr ? user->pw_uid : team->gr_gid;
  return {};
}

Outcome TakeIndexes(const std::string& name, std::string value, FindTest* test) {
  // "fs-OST000a_UUID" or "OST000a" as well as "0,2-4".
  const size_t at = std::min(value.find("OST"), value.find("MDT"));
  if (at != std::string::npos) {
    value = "0x" + value.substr(at + 3, value.find('_', at) - at - 3);
  }
  const auto list = ParseIndexList(value);
  if (!list) return Usage("bad index list '" + value + "' for -" + name);
  test->indexes = *list;
  return {};
}

Outcome TakeText(const std::string& name, const std::string& value, FindTest* test) {
  test->text = test->field == FindField::kPool ? value.substr(value.find('.') + 1) : value;
  if (test->field == FindField::kType && value.find_first_not_of("bcdflps,") != std::string::npos) {
    return Usage("bad type '" + value + "' for -" + name);
  }
  if (test->field == FindField::kLayout && value != "raid0" && value != "mdt" &&
      value != "released" && value != "overstriped") {
    return Usage("bad layout '" + value + "' for -" + name);
  }
  if (test->field == FindField::kComponentFlags) {
    const auto flags = ParseComponentFlags(value);
    if (!flags) return std::unexpected(flags.error());
    test->flags = *flags;
  }
  return {};
}

Outcome TakePermissions(const std::string& name, std::string value, FindTest* test) {
  if (value.starts_with('-') || value.starts_with('/')) {
    test->relation = value[0] == '-' ? Relation::kMore : Relation::kLess;  // all of, any of
    value.erase(0, 1);
  }
  if (value.empty() || value.size() > 4 ||
      value.find_first_not_of("01234567") != std::string::npos) {
    return Usage("bad mode '" + value + "' for -" + name + "; it must be octal");
  }
  test->number = std::stoul(value, nullptr, 8);
  return {};
}

// "newer": as "newermm". X, a letter of the file's own times, stays as text.
Outcome TakeNewer(const std::string& name, const std::string& value, FindTest* test) {
  const std::string letters = name == "newer" ? "mm" : name.substr(name.size() - 2);
  const auto reference = ReferenceTime(letters[1], name, value);
  if (!reference) return std::unexpected(reference.error());
  test->text = letters.substr(0, 1);
  test->time_ns = *reference;
  return {};
}

Outcome TakeBytes(const std::string& name, const std::string& value, FindTest* test) {
  return TakeSize(name, value, kBlock, test);
}

struct Predicate {
  const char* name;
  FindField field;
  Outcome (*take)(const std::string& name, std::string value, FindTest* test);
};

template <Outcome (*kTake)(const std::string&, const std::string&, FindTest*)>
Outcome ByReference(const std::string& name, std::string value, FindTest* test) {
  return kTake(name, value, test);
}

constexpr Predicate kPredicates[] = {
    {"name", FindField::kName, ByReference<TakeText>},
    {"n", FindField::kName, ByReference<TakeText>},
    {"type", FindField::kType, ByReference<TakeText>},
    {"t", FindField::kType, ByReference<TakeText>},
    {"size", FindField::kSize, ByReference<TakeBytes>},
    {"s", FindField::kSize, ByReference<TakeBytes>},
    {"atime", FindField::kAccessed, TakeTime},
    {"A", FindField::kAccessed, TakeTime},
    {"mtime", FindField::kModified, TakeTime},
    {"M", FindField::kModified, TakeTime},
    {"ctime", FindField::kChanged, TakeTime},
    {"C", FindField::kChanged, TakeTime},
    {"user", FindField::kUser, ByReference<TakeOwner>},
    {"uid", FindField::kUser, ByReference<TakeOwner>},
    {"u", FindField::kUser, ByReference<TakeOwner>},
    {"U", FindField::kUser, ByReference<TakeOwner>},
    {"group", FindField::kGroup, ByReference<TakeOwner>},
    {"gid", FindField::kGroup, ByReference<TakeOwner>},
    {"g", FindField::kGroup, ByReference<TakeOwner>},
    {"G", FindField::kGroup, ByReference<TakeOwner>},
    {"links", FindField::kLinks, TakeNumber},
    {"perm", FindField::kPermissions, TakePermissions},
    {"newer", FindField::kNewer, ByReference<TakeNewer>},
    {"newermm", FindField::kNewer, ByReference<TakeNewer>},
    {"newerma", FindField::kNewer, ByReference<TakeNewer>},
    {"newermc", FindField::kNewer, ByReference<TakeNewer>},
    {"newermt", FindField::kNewer, ByReference<TakeNewer>},
    {"neweraa", FindField::kNewer, ByReference<TakeNewer>},
    {"newerac", FindField::kNewer, ByReference<TakeNewer>},
    {"neweram", FindField::kNewer, ByReference<TakeNewer>},
    {"newerat", FindField::kNewer, ByReference<TakeNewer>},
    {"newerca", FindField::kNewer, ByReference<TakeNewer>},
    {"newercc", FindField::kNewer, ByReference<TakeNewer>},
    {"newercm", FindField::kNewer, ByReference<TakeNewer>},
    {"newerct", FindField::kNewer, ByReference<TakeNewer>},
    {"stripe-count", FindField::kStripeCount, TakeNumber},
    {"c", FindField::kStripeCount, TakeNumber},
    {"stripe-size", FindField::kStripeBytes, TakeStripeBytes},
    {"S", FindField::kStripeBytes, TakeStripeBytes},
    {"stripe-index", FindField::kStripeIndex, TakeIndexes},
    {"i", FindField::kStripeIndex, TakeIndexes},
    {"ost", FindField::kOst, TakeIndexes},
    {"obd", FindField::kOst, TakeIndexes},
    {"O", FindField::kOst, TakeIndexes},
    {"mdt", FindField::kMdt, TakeIndexes},
    {"mdt-index", FindField::kMdt, TakeIndexes},
    {"m", FindField::kMdt, TakeIndexes},
    {"layout", FindField::kLayout, ByReference<TakeText>},
    {"L", FindField::kLayout, ByReference<TakeText>},
    {"component-count", FindField::kComponentCount, TakeNumber},
    {"comp-count", FindField::kComponentCount, TakeNumber},
    {"component-start", FindField::kComponentStart, TakeStripeBytes},
    {"comp-start", FindField::kComponentStart, TakeStripeBytes},
    {"component-end", FindField::kComponentEnd, TakeStripeBytes},
    {"comp-end", FindField::kComponentEnd, TakeStripeBytes},
    {"E", FindField::kComponentEnd, TakeStripeBytes},
    {"component-flags", FindField::kComponentFlags, ByReference<TakeText>},
    {"comp-flags", FindField::kComponentFlags, ByReference<TakeText>},
    {"pool", FindField::kPool, ByReference<TakeText>},
};

constexpr const char* kRefused[] = {"foreign",
                                    "mirror-count",
                                    "N",
                                    "mirror-state",
                                    "extension-size",
                                    "ext-size",
                                    "z",
                                    "mdt-count",
                                    "T",
                                    "mdt-hash",
                                    "H",
                                    "projid",
                                    "lazy",
                                    "skip",
                                    "threads",
                                    "xattr",
                                    "attrs",
                                    "btime",
                                    "B",
                                    "newerBB",
                                    "newerBa",
                                    "newerBc",
                                    "newerBm",
                                    "newerBt",
                                    "neweraB",
                                    "newercB",
                                    "newermB"};

// What is no test; false: it is not one of these.
std::expected<bool, OptionError> TakeOther(const std::string& name, const Arguments& args,
                                           size_t* at, FindRequest* request) {
  if (name == "print") {
    request->output = FindOutput::kLines;
  } else if (name == "print0" || name == "0" || name == "P") {
    request->output = FindOutput::kNulls;
  } else if (name == "ls") {
    request->output = FindOutput::kLong;
  } else if (name == "printf" || name == "maxdepth" || name == "D" || name == "mindepth" ||
             name == "d") {
    if (*at + 1 >= args.size()) return Usage("option '-" + name + "' requires an argument");
    const std::string& value = args[++*at];
    if (name == "printf") {
      request->output = FindOutput::kFormat;
      request->format = value;
      return true;
    }
    const auto depth = ParseInteger(value);
    if (!depth || *depth < 0) return Usage("bad depth '" + value + "' for -" + name);
    (name == "mindepth" || name == "d" ? request->depth_min : request->depth_max) =
        static_cast<uint64_t>(*depth);
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool NeedsLayout(FindField field) { return field >= FindField::kStripeCount; }

std::expected<FindRequest, OptionError> ParseFind(const Arguments& args) {
  FindRequest request;
  bool negated = false;
  for (size_t at = 1; at < args.size(); ++at) {
    if (args[at] == "!" || args[at] == "-not" || args[at] == "--not") {
      negated = !negated;
      continue;
    }
    if (args[at].size() < 2 || args[at][0] != '-') {
      request.paths.push_back(args[at]);
      continue;
    }
    std::string name = args[at].substr(args[at].starts_with("--") ? 2 : 1);
    std::optional<std::string> value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    auto other = TakeOther(name, args, &at, &request);
    if (!other) return std::unexpected(std::move(other).error());
    if (*other) continue;
    if (std::ranges::find(kRefused, name) != std::end(kRefused)) {
      return std::unexpected(
          OptionError{"option -" + name + " is not implemented in Sheen", EOPNOTSUPP});
    }
    const auto predicate = std::ranges::find_if(
        kPredicates, [&name](const Predicate& one) { return name == one.name; });
    if (predicate == std::end(kPredicates)) return Usage("unrecognized option '" + args[at] + "'");
    if (!value && at + 1 >= args.size()) {
      return Usage("option '" + args[at] + "' requires an argument");
    }
    if (!value) value = args[++at];
    FindTest test{.field = predicate->field, .negated = std::exchange(negated, false)};
    if (auto taken = predicate->take(name, *value, &test); !taken) {
      return std::unexpected(std::move(taken).error());
    }
    request.tests.push_back(std::move(test));
  }
  if (negated) return Usage("'!' without a test after it");
  if (request.paths.empty()) return Usage("missing filename|dirname");
  return request;
}

bool Holds(const FindTest& test, uint64_t value) {
  switch (test.relation) {
    case Relation::kMore:
      return value > test.number;
    case Relation::kLess:
      return value < test.number && test.number - value >= test.unit;
    case Relation::kEqual:
      return value <= test.number && test.number - value < test.unit;
  }
  return false;
}

bool HoldsForAge(const FindTest& test, int64_t age_seconds) {
  const auto number = static_cast<int64_t>(test.number);
  const auto unit = static_cast<int64_t>(test.unit);
  switch (test.relation) {
    case Relation::kMore:
      return age_seconds >= number + unit;
    case Relation::kLess:
      return age_seconds < number;
    case Relation::kEqual:
      return age_seconds >= number && age_seconds < number + unit;
  }
  return false;
}

}  // namespace sheen::lfs
