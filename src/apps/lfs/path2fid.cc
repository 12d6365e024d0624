#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/options.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "path2fid";

constexpr OptionSpec kSpecs[] = {{'p', "parents", Takes::kNothing, false}};

// For what cannot be opened (links, devices, files without read permission): the xattr lustre.fid.
Result<Fid> FidByXattr(const std::string& path) {
  char value[64];
  const ssize_t size = ::lgetxattr(path.c_str(), "lustre.fid", value, sizeof value);
  if (size < 0) {
    // So another filesystem answers.
    if (errno == ENODATA || errno == EOPNOTSUPP) return FailErrno(ENOTTY, path);
    return FailErrno(errno, path);
  }
  std::string_view text(value, static_cast<size_t>(size));
  while (text.ends_with('\0')) text.remove_suffix(1);
  Fid fid;
  if (!Fid::Parse(text, &fid)) return FailErrno(EPROTO, path);
  return fid;
}

Result<Fid> FidOfPath(const std::string& path) {
  struct stat attributes {};
  if (::lstat(path.c_str(), &attributes) != 0) return FailErrno(errno, path);
  if (S_ISDIR(attributes.st_mode) || S_ISREG(attributes.st_mode)) {
    const auto device = Device::Open(path, O_RDONLY | O_NOFOLLOW);
    if (device) return device->GetFid();
    if (device.error().code() != Errc::kAccess) return std::unexpected(device.error());
  }
  return FidByXattr(path);
}

}  // namespace

int RunPath2Fid(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  if (const auto option = reader.Next(); !option)
    return ReportOptionError(kCommand, option.error());
  const Arguments paths = reader.Rest();
  if (paths.empty()) return ReportOptionError(kCommand, {"missing path"});
  int last = 0;
  for (const std::string& path : paths) {
    const auto fid = FidOfPath(path);
    if (!fid) {
      std::fflush(stdout);
      fmt::print(stderr, "lfs {}: can't get fid for '{}': {}\n", kCommand, path,
                 ErrnoText(fid.error()));
      last = ErrnoOf(fid.error().code());
    } else if (paths.size() > 1) {
      fmt::print("{}: {}\n", path, fid->ToString());
    } else {
      fmt::print("{}\n", fid->ToString());
    }
  }
  return last;
}

}  // namespace sheen::lfs
