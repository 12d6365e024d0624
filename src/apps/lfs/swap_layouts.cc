#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/options.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "swap_layouts";

Status Swap(const std::string& first, const std::string& second) {
  struct stat a {};
  struct stat b {};
  if (::stat(first.c_str(), &a) != 0) return FailErrno(errno, first);
  if (::stat(second.c_str(), &b) != 0) return FailErrno(errno, second);
  if (!S_ISREG(a.st_mode) || !S_ISREG(b.st_mode)) {
    return Fail(Errc::kInvalid, "only regular files have layouts to swap");
  }
  if (a.st_dev != b.st_dev) return Fail(Errc::kCrossDevice, "they are on two filesystems");
  // A program that runs must not get other bytes.
  SHEEN_TRY_ASSIGN(const Device device, Device::Open(first, O_RDWR));
  SHEEN_TRY_ASSIGN(const Device other, Device::Open(second, O_RDWR));
  SHEEN_TRY_ASSIGN(const Fid fid, other.GetFid());
  return device.SwapLayouts(fid);
}

}  // namespace

int RunSwapLayouts(const Arguments& args) {
  OptionReader reader(args, {});
  const auto option = reader.Next();
  if (!option) return ReportOptionError(kCommand, option.error());
  const Arguments paths = reader.Rest();
  if (paths.size() != 2) return ReportOptionError(kCommand, {"two files must be named"});
  const Status swapped = Swap(paths[0], paths[1]);
  if (swapped) return 0;
  return ReportError(kCommand, "cannot swap layouts of '" + paths[0] + "' and '" + paths[1] + "'",
                     swapped.error());
}

}  // namespace sheen::lfs
