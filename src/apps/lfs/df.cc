#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/df_format.h"
#include "apps/lfs/mounts.h"
#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"
#include "apps/lfs/pools.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "df";

constexpr OptionSpec kSpecs[] = {
    {'h', "human-readable"},
    {'H', "si"},
    {'i', "inodes"},
    {'l', "lazy"},  // a target that does not answer never delays: always so
    {'m', "mdt", Takes::kOptional},
    {'o', "ost", Takes::kOptional},
    {'N', "no-header"},
    {'v', "verbose"},
    {'p', "pool", Takes::kArgument},
    {'s', "summary", Takes::kNothing, false},
    {'u', "output", Takes::kArgument, false},
};

struct Request {
  DfOptions format;
  std::string pool;  // -p
  std::string path;  // empty: all mounts
};

std::expected<void, OptionError> Take(const Option& option, DfOptions* format) {
  switch (option.letter) {
    case 'h':
      format->unit_base = 1024;
      return {};
    case 'H':
      format->unit_base = 1000;
      return {};
    case 'i':
      format->inodes = true;
      return {};
    case 'N':
      format->header = false;
      return {};
    case 'v':
      format->verbose = true;
      return {};
    case 'm':
    case 'o': {
      (option.letter == 'm' ? format->osts : format->mdts) = false;
      if (!option.value) return {};
      const auto index = ParseInteger(*option.value);
      if (!index || *index < 0 || *index > UINT32_MAX)
        return std::unexpected(OptionError{"bad index '" + *option.value + "'"});
      format->index = static_cast<uint32_t>(*index);
      return {};
    }
    default:
      return {};
  }
}

std::expected<Request, OptionError> ParseDf(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  Request request;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    if ((*option)->letter == 'p') {
      request.pool = (*option)->value.value_or("");
      continue;
    }
    if (auto taken = Take(**option, &request.format); !taken) return std::unexpected(taken.error());
  }
  const Arguments rest = reader.Rest();
  if (rest.size() > 1) return std::unexpected(OptionError{"only one path can be given"});
  if (!rest.empty()) request.path = rest[0];
  return request;
}

int ShowMount(const std::string& path, const std::string& directory, const Request& request) {
  DfOptions format = request.format;
  const auto device = Device::Open(path, O_RDONLY);
  if (!device) return ReportError(kCommand, "cannot open '" + path + "'", device.error());
  const auto targets = device->Targets();
  if (!targets && targets.error().code() == Errc::kNotTty)
    return ReportError(kCommand, "'" + path + "': Not a Lustre filesystem",
                       Error(Errc::kNotSupported));
  if (!targets)
    return ReportError(kCommand, "cannot get the targets of '" + path + "'", targets.error());
  if (!request.pool.empty()) {
    const auto pools = device->Pools();
    if (!pools)
      return ReportError(kCommand, "cannot get the pools of '" + path + "'", pools.error());
    auto members = MembersOfPool(*pools, request.pool);
    if (!members) return ReportError(kCommand, members.error().message(), members.error());
    format.pool = std::move(*members);
  }
  fmt::print("{}", FormatDf(*targets, directory, format));
  return 0;
}

int ShowPath(const Request& request, const std::vector<MountEntry>& mounts) {
  struct stat attributes {};
  if (::stat(request.path.c_str(), &attributes) != 0)
    return ReportError(kCommand, "cannot open '" + request.path + "'",
                       FailErrno(errno, request.path).error());
  if (!S_ISDIR(attributes.st_mode) && !S_ISREG(attributes.st_mode))
    return ReportError(kCommand, "'" + request.path + "': Not a Lustre filesystem",
                       Error(Errc::kNotSupported));
  std::error_code error;
  const std::string real = std::filesystem::canonical(request.path, error);
  const auto mount = error ? std::nullopt : MountOf(mounts, real);
  return ShowMount(request.path, mount ? mount->directory : request.path, request);
}

}  // namespace

int RunDf(const Arguments& args) {
  const auto request = ParseDf(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  const auto mounts = ReadMounts();
  if (!mounts) return ReportError(kCommand, "cannot read the mounts", mounts.error());
  if (!request->path.empty()) return ShowPath(*request, *mounts);
  if (mounts->empty())
    return ReportError(kCommand, "no Sheen filesystem is mounted", Error(Errc::kNoEntry));
  int last = 0;
  bool any = false;
  for (const MountEntry& mount : *mounts) {
    const int status = ShowMount(mount.directory, mount.directory, *request);
    any = any || status == 0;
    if (status != 0) last = status;
  }
  return any ? 0 : last;
}

}  // namespace sheen::lfs
