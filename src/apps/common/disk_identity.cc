#include "apps/common/disk_identity.h"

#include "apps/common/ost_notes.h"
#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::apps {
namespace {

uint64_t MachineNumber() {
  const Result<std::string> boot_id = ReadWholeFile("/proc/sys/kernel/random/boot_id");
  return boot_id ? Crc32c(AsBytes(*boot_id)) : 0;
}

}  // namespace

uint64_t DiskIdentity(uint64_t device) {
  static const uint64_t machine = MachineNumber();
  // dev_t is 32 bits in the kernel (12 major, 20 minor); userspace's encoding may be wider.
  return device == 0 ? 0 : device ^ machine << 32;
}

}  // namespace sheen::apps
