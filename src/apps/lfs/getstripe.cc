#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/format.h"
#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "getstripe";

enum LongOnly : int {
  kComponentStart = 256,
  kComponentCount,
  kComponentFlags,
  kMirrorId,
  kMirrorIndex,
  kHexIndex,
  kNoFollow
};

constexpr OptionSpec kSpecs[] = {
    {'c', "stripe-count"},
    {'S', "stripe-size"},
    {'i', "stripe-index"},
    {'p', "pool"},
    {'L', "layout"},
    {'g', "generation"},
    {'F', "fid"},
    {'m', "mdt-index"},
    {'N', "mirror-count"},
    {'E', "component-end", Takes::kOptional},
    {'E', "comp-end", Takes::kOptional},
    {kComponentStart, "component-start", Takes::kOptional},
    {kComponentStart, "comp-start", Takes::kOptional},
    {'I', "component-id", Takes::kOptional},
    {'I', "comp-id", Takes::kOptional},
    {kComponentCount, "component-count"},
    {kComponentCount, "comp-count"},
    {kComponentFlags, "component-flags", Takes::kOptional},
    {kComponentFlags, "comp-flags", Takes::kOptional},
    {'d', "directory"},
    {'D', "default"},
    {'r', "recursive"},
    {'R', "raw"},
    {'q', "quiet"},
    {'v', "verbose"},
    {'y', "yaml"},
    {'O', "obd", Takes::kArgument},
    {'z', "extension-size", Takes::kOptional, false},
    {kMirrorId, "mirror-id", Takes::kOptional},
    {kMirrorIndex, "mirror-index", Takes::kOptional, false},
    {kHexIndex, "hex-idx"},
    {kNoFollow, "no-follow"},
};

struct Request {
  FormatOptions format;
  bool directory_only = false;
  bool recursive = false;
  bool raw = false;
  bool no_follow = false;  // symbolic links themselves, which have no layout
  bool many = false;  // more than one path may be shown: say which
  Arguments paths;
};

using Outcome = std::expected<void, OptionError>;

Outcome TakeOffset(const Option& option, const char* name, std::optional<OffsetFilter>* out) {
  std::string value = *option.value;
  OffsetFilter filter;
  if (value == "eof" || value == "EOF" || value == "-1") {
    filter.bytes = layout::kEof;
    *out = filter;
    return {};
  }
  if (value.starts_with('+') || value.starts_with('-')) {
    filter.sign = value[0] == '+' ? 1 : -1;
    value.erase(0, 1);
  }
  const auto bytes = ParseStripeBytes(value);
  if (!bytes)
    return std::unexpected(OptionError{std::string("bad ") + name + " '" + *option.value + "'"});
  filter.bytes = *bytes;
  *out = filter;
  return {};
}

// "3", "OST0003", "fs-OST0003_UUID".
Outcome TakeOst(std::string value, FormatOptions* format) {
  if (const size_t at = value.find("OST"); at != std::string::npos)
    value = "0x" + value.substr(at + 3, value.find('_', at) - at - 3);
  const auto index = ParseInteger(value);
  if (!index || *index < 0 || *index > UINT16_MAX)
    return std::unexpected(OptionError{"bad OST '" + value + "'"});
  format->marked_ost = static_cast<uint32_t>(*index);
  return {};
}

uint32_t AttributeOf(int letter) {
  switch (letter) {
    case 'c':
      return kShowStripeCount;
    case 'S':
      return kShowStripeSize;
    case 'i':
      return kShowStripeIndex;
    case 'p':
      return kShowPool;
    case 'L':
      return kShowPattern;
    case 'g':
      return kShowGeneration;
    case 'F':
      return kShowFid;
    case 'm':
      return kShowMdtIndex;
    case 'N':
      return kShowMirrorCount;
    case kComponentCount:
      return kShowComponentCount;
    default:
      return 0;
  }
}

Outcome TakeComponentId(const Option& option, FormatOptions* format) {
  if (!option.value) {
    format->attributes |= kShowComponentId;
    return {};
  }
  const auto id = ParseInteger(*option.value);
  if (!id || *id < 1 || *id > INT32_MAX)
    return std::unexpected(OptionError{"bad component id '" + *option.value + "'"});
  format->component_id = static_cast<uint32_t>(*id);
  return {};
}

// Mirrors are numbered from 1 on; 0: a file without mirrors, as all are. "^N": any but N.
Outcome TakeMirrorId(const Option& option, FormatOptions* format) {
  if (!option.value) {
    format->attributes |= kShowMirrorId;
    return {};
  }
  const bool negated = option.value->starts_with('^');
  const auto id = ParseInteger(option.value->substr(negated ? 1 : 0));
  if (!id || *id < 0 || *id > UINT16_MAX)
    return std::unexpected(OptionError{"bad mirror id '" + *option.value + "'"});
  format->no_mirror = (*id == 0) == negated;
  return {};
}

Outcome TakeComponentFlags(const Option& option, FormatOptions* format) {
  if (!option.value) {
    format->attributes |= kShowComponentFlags;
    return {};
  }
  const auto flags = ParseComponentFlags(*option.value);
  if (!flags) return std::unexpected(flags.error());
  format->component_flags = *flags;
  return {};
}

Outcome Take(const Option& option, Request* request) {
  FormatOptions& format = request->format;
  switch (option.letter) {
    case 'd':
    case 'D':
      request->directory_only = true;
      return {};
    case 'r':
      request->recursive = true;
      return {};
    case 'R':
      request->raw = true;
      return {};
    case 'q':
      format.quiet = true;
      return {};
    case 'v':
      format.verbose = true;
      return {};
    case 'y':
      format.yaml = true;
      return {};
    case 'O':
      return TakeOst(*option.value, &format);
    case kHexIndex:
      format.hex_index = true;
      return {};
    case kNoFollow:
      request->no_follow = true;
      return {};
    case 'I':
      return TakeComponentId(option, &format);
    case kComponentFlags:
      return TakeComponentFlags(option, &format);
    case kMirrorId:
      return TakeMirrorId(option, &format);
    case 'E':
      if (option.value) return TakeOffset(option, "component end", &format.component_end);
      format.attributes |= kShowComponentEnd;
      return {};
    case kComponentStart:
      if (option.value) return TakeOffset(option, "component start", &format.component_start);
      format.attributes |= kShowComponentStart;
      return {};
    default:
      format.attributes |= AttributeOf(option.letter);
      return {};
  }
}

std::expected<Request, OptionError> ParseGetstripe(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  Request request;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    if (Outcome taken = Take(**option, &request); !taken) return std::unexpected(taken.error());
  }
  request.paths = reader.Rest();
  if (request.paths.empty()) return std::unexpected(OptionError{"missing filename|dirname"});
  request.many = request.paths.size() > 1;
  return request;
}

int ReportGetError(const std::string& path, const Error& error) {
  std::fflush(stdout);
  fmt::print(stderr, "lfs: getstripe for '{}' failed: {}\n", path, ErrnoText(error));
  return ErrnoOf(error.code());
}

// What `-R` shows of a directory without a default of its own.
ShownLayout StoredNothing() {
  ShownLayout shown;
  shown.layout = layout::PlainTemplate(0, 0);
  return shown;
}

Result<ShownLayout> Fetch(const std::string& path, const Request& request, bool is_directory) {
  SHEEN_TRY_ASSIGN(const Device device,
                   Device::Open(path, is_directory ? O_RDONLY | O_DIRECTORY : O_RDONLY));
  auto shown = device.GetLayout(is_directory && !request.raw);
  if (!shown && shown.error().code() == Errc::kNoData && is_directory) return StoredNothing();
  return shown;
}

int ShowOne(const std::string& path, const Request& request, bool is_directory) {
  const auto shown = Fetch(path, request, is_directory);
  if (!shown) return ReportGetError(path, shown.error());
  const bool attributes = request.format.attributes != 0;
  const bool needs_layout =
      (request.format.attributes & ~(kShowFid | kShowMdtIndex)) != 0 || !attributes;
  if (shown->layout.empty() && needs_layout) {
    fmt::print("{} has no stripe info\n", path);
    return 0;
  }
  // -O: only what has an object there.
  if (request.format.marked_ost && !AnySelected(shown->layout, request.format)) return 0;
  const FormatSubject subject{&shown->layout, shown->fid, is_directory, shown->inherited};
  if (attributes) {
    if (request.many) fmt::print("{}\n", path);
    fmt::print("{}", FormatAttributes(subject, request.format));
    return 0;
  }
  if (!request.directory_only && !request.format.yaml) fmt::print("{}\n", path);
  fmt::print("{}", FormatLayout(subject, request.format));
  return 0;
}

// A directory's entries, sorted; below them too when recursive. Returns the last error's errno.
int ShowEntries(const std::string& directory, const Request& request) {
  std::error_code error;
  std::vector<std::filesystem::directory_entry> entries;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error))
    entries.push_back(*at);
  if (error) return ReportGetError(directory, FailErrno(error.value(), directory).error());
  std::ranges::sort(entries);
  int last = 0;
  for (const auto& entry : entries) {
    const std::filesystem::file_type type = entry.symlink_status(error).type();
    const bool is_directory = type == std::filesystem::file_type::directory;
    if (!is_directory && type != std::filesystem::file_type::regular) continue;
    int status = ShowOne(entry.path(), request, is_directory);
    if (is_directory && request.recursive && status == 0)
      status = ShowEntries(entry.path(), request);
    if (status != 0) last = status;
  }
  return last;
}

int ShowPath(const std::string& path, Request request) {
  struct stat attributes {};
  const int found = request.no_follow ? ::lstat(path.c_str(), &attributes)
                                      : ::stat(path.c_str(), &attributes);
  if (found != 0)
    return ReportGetError(path, FailErrno(errno, path).error());
  const bool is_directory = S_ISDIR(attributes.st_mode);
  if (!is_directory && !S_ISREG(attributes.st_mode)) {
    fmt::print("{} has no stripe info\n", path);  // not opened: that could wait or have effects
    return 0;
  }
  const bool descend = is_directory && !request.directory_only;
  std::error_code ignored;
  if (descend && !std::filesystem::is_empty(path, ignored)) request.many = true;
  const int status = ShowOne(path, request, is_directory);
  return status != 0 || !descend ? status : ShowEntries(path, request);
}

}  // namespace

int RunGetstripe(const Arguments& args) {
  const auto request = ParseGetstripe(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  int last = 0;
  for (const std::string& path : request->paths) {
    const int status = ShowPath(path, *request);
    if (status != 0) last = status;
  }
  return last;
}

}  // namespace sheen::lfs
