#include "apps/lfs/mounted.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>

namespace sheen::lfs {

namespace {

int ShowOne(std::string_view command, const std::string& path,
            const std::vector<MountEntry>& mounts, const std::function<int(const Mounted&)>& show) {
  const auto device = Device::Open(path, O_RDONLY);
  if (!device) return ReportError(command, "cannot open '" + path + "'", device.error());
  const auto uuid = device->ClientUuid();
  if (!uuid && uuid.error().code() == Errc::kNotTty) {
    return ReportError(command, "'" + path + "' is not on a Sheen filesystem", uuid.error());
  }
  if (!uuid) return ReportError(command, "cannot ask the mount of '" + path + "'", uuid.error());
  Mounted mounted{.path = path, .mount = {}, .device = &*device, .client_uuid = *uuid};
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error);
  if (const auto mount = error ? std::nullopt : MountOf(mounts, real)) mounted.mount = *mount;
  return show(mounted);
}

}  // namespace

std::string Mounted::Instance() const {
  std::string digits = client_uuid;
  std::erase(digits, '-');
  return "ffff" + digits.substr(0, 12);
}

int ForEachMount(std::string_view command, const Arguments& paths,
                 const std::function<int(const Mounted&)>& show) {
  const auto mounts = ReadMounts();
  if (!mounts) return ReportError(command, "cannot read the mounts", mounts.error());
  Arguments wanted = paths;
  if (wanted.empty()) {
    for (const MountEntry& mount : *mounts) wanted.push_back(mount.directory);
  }
  if (wanted.empty()) {
    return ReportError(command, "no Sheen filesystem is mounted", Error(Errc::kNoEntry));
  }
  int last = 0;
  for (const std::string& path : wanted) {
    const int status = ShowOne(command, path, *mounts, show);
    if (status != 0) last = status;
  }
  return last;
}

}  // namespace sheen::lfs
