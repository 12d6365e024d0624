// POSIX access control lists: bytes, validity, who gets what, and how a list and the mode bits
// follow each other. The rules are those of fs/posix_acl.c in Linux, so that the kernels of the
// clients, which decide by the same lists, never decide otherwise.
//
//   bytes of system.posix_acl_access and system.posix_acl_default (little-endian):
//   u32 version 2, then entries of u16 tag, u16 permissions, u32 id (of kUser and kGroup)
//
// Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/server.h"
#include "sheen/result.h"

namespace sheen::mds {

inline constexpr std::string_view kAclAccessName = "system.posix_acl_access";
inline constexpr std::string_view kAclDefaultName = "system.posix_acl_default";

enum AclTag : uint16_t {
  kAclUserObj = 0x01,   // the owner
  kAclUser = 0x02,      // the user `id`
  kAclGroupObj = 0x04,  // the owning group
  kAclGroup = 0x08,     // the group `id`
  kAclMask = 0x10,      // what all but the owner and others get at most
  kAclOther = 0x20,
};

struct AclEntry {
  uint16_t tag = 0;
  uint16_t permissions = 0;  // Access bits
  uint32_t id = UINT32_MAX;
  bool operator==(const AclEntry&) const = default;
};

// In the order of the tags; valid, or empty for no list.
using PosixAcl = std::vector<AclEntry>;

// Errors: kInvalid (length, order, a missing entry, unknown bits), kNotSupported (version).
Result<PosixAcl> DecodeAcl(std::string_view bytes);
std::string EncodeAcl(const PosixAcl& acl);

// Of an inode of `uid` and `gid`; the superuser is the caller's affair. The first class that fits
// decides; of several groups any may grant.
bool AclGrants(const PosixAcl& acl, uint32_t uid, uint32_t gid, const rpc::Credential& who,
               uint32_t access);

// The nine permission bits that show the list: group bits are the mask where there is one.
uint32_t ModeOfAcl(const PosixAcl& acl);
// It says no more than those bits, and need not be kept.
bool IsOnlyMode(const PosixAcl& acl);
// chmod: owner, mask (else the owning group) and others follow the bits.
void ChangeAclMode(uint32_t mode, PosixAcl* acl);
// What a new object makes of its directory's default list: no entry grants more than `mode`, and
// the bits returned, in place of `mode`'s, no more than the list.
uint32_t RestrictAcl(uint32_t mode, PosixAcl* acl);

}  // namespace sheen::mds
