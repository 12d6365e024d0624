// Commands that take a mount point, or mean all mounts when none is given.
//
// Single-threaded.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/mounts.h"

namespace sheen::lfs {

struct Mounted {
  std::string path;  // as given, or the mount's directory
  MountEntry mount;
  const Device* device = nullptr;
  std::string client_uuid;

  // "ffff" and 12 hexadecimal digits of the client's UUID: names this mount among others.
  std::string Instance() const;
};

// Calls `show` for each. Gives the last status that is not 0; an error is reported, and the next
// one comes.
int ForEachMount(std::string_view command, const Arguments& paths,
                 const std::function<int(const Mounted&)>& show);

}  // namespace sheen::lfs
