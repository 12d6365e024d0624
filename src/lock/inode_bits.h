// Inodebits: what a lock on an inode covers. Clients hold them in mode PR only: a change asks the
// holders of the bits that it touches to give them back before it is made.
//
//   bit       while it is held, this does not change                       changed by
//   kLookup   the names that lead to the inode, and that it exists         unlink, rmdir, rename
//   kUpdate   attributes; of a directory its entries and absent names too  nearly everything
//   kLayout   the layout                                                   instantiate, setstripe
//   kPerm     mode, owner, group, ACL                                      chmod, chown
//   kXattr    extended attributes                                          setxattr, removexattr
//
// Values are Lustre's (MDS_INODELOCK_*); they travel on the wire.
#pragma once

#include <cstdint>

namespace sheen::lock {

enum InodeBits : uint32_t {
  kLookup = 0x01,
  kUpdate = 0x02,
  kOpen = 0x04,
  kLayout = 0x08,
  kPerm = 0x10,
  kXattr = 0x20,
};
inline constexpr uint32_t kAllInodeBits = kLookup | kUpdate | kOpen | kLayout | kPerm | kXattr;
// What attributes are cached under.
inline constexpr uint32_t kAttrBits = kUpdate | kPerm;

}  // namespace sheen::lock
