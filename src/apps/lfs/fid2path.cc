#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/mounts.h"
#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "fid2path";

constexpr OptionSpec kSpecs[] = {
    {'f', "print-fid"}, {'l', "link", Takes::kArgument},       {'n', "name"},
    {'0', "null"},      {'c', "cur", Takes::kArgument, false},
};

struct Request {
  bool print_fid = false;
  bool names_only = false;
  char end = '\n';
  std::optional<size_t> link;  // only this one, counted from 0
  std::string filesystem;      // name or mount point
  Arguments fids;
};

std::expected<Request, OptionError> ParseFid2Path(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  Request request;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    const std::string value = (*option)->value.value_or("");
    switch ((*option)->letter) {
      case 'f':
        request.print_fid = true;
        break;
      case 'n':
        request.names_only = true;
        break;
      case '0':
        request.end = '\0';
        break;
      default: {
        const auto link = ParseInteger(value);
        if (!link || *link < 0)
          return std::unexpected(OptionError{"invalid link number '" + value + "'"});
        request.link = static_cast<size_t>(*link);
      }
    }
  }
  Arguments rest = reader.Rest();
  if (rest.size() < 2) return std::unexpected(OptionError{"missing FID"});
  request.filesystem = rest[0];
  request.fids.assign(rest.begin() + 1, rest.end());
  return request;
}

// `prefix` is "" or a mount point; `path` is relative to the root, which itself is "/".
std::string Shown(const Request& request, const std::string& prefix, std::string path) {
  if (path.empty()) path = "/";
  if (request.names_only) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos || path == "/" ? path : path.substr(slash + 1);
  }
  return prefix.empty() ? path : prefix + "/" + path;
}

int ShowFid(const Request& request, const Device& device, const std::string& prefix,
            const std::string& text) {
  Fid fid;
  if (!Fid::Parse(text, &fid) || !fid.Valid()) {
    std::fflush(stdout);
    fmt::print(stderr, "lfs {}: invalid FID '{}'\n", kCommand, text);
    return EINVAL;
  }
  auto paths = device.FidToPath(fid);
  if (paths && request.link && *request.link >= paths->size()) paths = FailErrno(ENODATA, text);
  if (!paths) {
    std::fflush(stdout);
    fmt::print(stderr, "lfs {}: cannot find {} {}: {}\n", kCommand, request.filesystem, text,
               ErrnoText(paths.error()));
    return ErrnoOf(paths.error().code());
  }
  for (size_t i = 0; i < paths->size(); ++i) {
    if (request.link && *request.link != i) continue;
    if (request.print_fid) fmt::print("{} ", fid.ToString());
    fmt::print("{}{}", Shown(request, prefix, (*paths)[i]), request.end);
  }
  return 0;
}

}  // namespace

int RunFid2Path(const Arguments& args) {
  auto request = ParseFid2Path(args);
  if (!request) return ReportOptionError(kCommand, request.error());
  std::string directory = request->filesystem;
  std::string prefix;
  if (directory.starts_with('/') || directory.starts_with('.')) {
    while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
    prefix = directory;
  } else {
    const auto mounts = ReadMounts();
    if (!mounts) return ReportError(kCommand, "cannot read the mounts", mounts.error());
    const auto mount = std::ranges::find(*mounts, directory, &MountEntry::fsname);
    if (mount == mounts->end())
      return ReportError(kCommand, "filesystem '" + directory + "' is not mounted",
                         Error(Errc::kNoSuchDevice));
    directory = mount->directory;
  }
  const auto device = Device::Open(directory, O_RDONLY | O_DIRECTORY);
  if (!device)
    return ReportError(kCommand, "cannot open '" + request->filesystem + "'", device.error());
  int first = 0;
  for (const std::string& text : request->fids) {
    const int status = ShowFid(*request, *device, prefix, text);
    if (first == 0) first = status;
  }
  return first;
}

}  // namespace sheen::lfs
