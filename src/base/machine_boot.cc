#include "base/machine_boot.h"

#include <fstream>

namespace sheen {

std::string MachineBootId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace sheen
