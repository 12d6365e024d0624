#include <fcntl.h>
#include <fmt/core.h>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/options.h"

namespace sheen::lfs {

namespace {

constexpr char kCommand[] = "data_version";

constexpr OptionSpec kSpecs[] = {
    {'n', "no-flush"},
    {'r', "read"},
    {'w', "write"},
    {'s', "set-archived", Takes::kNothing, false},
};

int ShowOne(const std::string& path, uint32_t flags) {
  const auto device = Device::Open(path, O_RDONLY);
  if (!device) return ReportError(kCommand, "cannot open '" + path + "'", device.error());
  const auto version = device->DataVersion(flags);
  if (!version) {
    return ReportError(kCommand, "cannot get version for '" + path + "'", version.error());
  }
  fmt::print("{}\n", *version);
  return 0;
}

}  // namespace

int RunDataVersion(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  uint32_t flags = 0;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(kCommand, option.error());
    if (!option->has_value()) break;
    if ((*option)->letter == 'n') flags = kIoctlAsIs;
    if ((*option)->letter == 'r') flags = 0;
    if ((*option)->letter == 'w') flags = kIoctlAlone;
  }
  const Arguments paths = reader.Rest();
  if (paths.empty()) return ReportOptionError(kCommand, {"no file is named"});
  int first = 0;
  for (const std::string& path : paths) {
    const int status = ShowOne(path, flags);
    if (first == 0) first = status;
  }
  return first;
}

}  // namespace sheen::lfs
