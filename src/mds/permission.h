// Who may do what to an inode: POSIX mode bits, its access ACL (posix_acl.h), owner rules, the
// sticky bit. uid 0 may do all.
//
// Pure functions; thread-safe.
#pragma once

#include <cstdint>

#include "mdt/records.h"
#include "rpc/server.h"
#include "sheen/result.h"

namespace sheen::mds {

enum Access : uint32_t { kAccessExecute = 1, kAccessWrite = 2, kAccessRead = 4 };

bool IsSuperuser(const rpc::Credential& credential);
bool InGroup(const rpc::Credential& credential, uint32_t gid);
bool IsOwner(const mdt::Inode& inode, const rpc::Credential& credential);

// By the first class that fits: owner, who the ACL names, group, others. The superuser reads and
// writes everything, searches every directory, and executes what has any execute bit.
bool MayAccess(const mdt::Inode& inode, const rpc::Credential& credential, uint32_t access);
// MayAccess as a Status. Errors: kAccess.
Status CheckAccess(const mdt::Inode& inode, const rpc::Credential& credential, uint32_t access);
// Removing or renaming away a name: write and search on the directory, and in a sticky one the
// ownership of it or of the child. Errors: kAccess, kPerm.
Status CheckRemove(const mdt::Inode& directory, const mdt::Inode& child,
                   const rpc::Credential& credential);
// Access bits that open(2) flags ask for.
uint32_t AccessOfOpenFlags(uint32_t open_flags);

// Mode bits that must go when someone without CAP_FSETID writes, truncates or changes owners:
// set-user-ID, and set-group-ID where group execution makes it mean that.
uint32_t WithoutSetIds(uint32_t mode);

}  // namespace sheen::mds
