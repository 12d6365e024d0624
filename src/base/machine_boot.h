// MachineBootId: of the running kernel; another one after each start of the machine (random(4),
// /proc/sys/kernel/random/boot_id). Empty when the kernel does not say.
#pragma once

#include <string>

namespace sheen {

std::string MachineBootId();

}  // namespace sheen
