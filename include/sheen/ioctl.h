// Sheen's own ioctls: how `lfs` talks to the client daemon, through an open file or directory of
// the mount. So it works in containers and without root, and never needs a path name or a socket.
//
// Every command is _IOWR with ONE message type, IoctlMessage: a 64-byte header and up to
// kIoctlDataBytes of data. FUSE calls such ioctls "restricted": the kernel copies _IOC_SIZE(cmd)
// bytes in before, and what the daemon returned out after (fs/fuse/ioctl.c); the daemon may return
// a prefix, kIoctlHeaderBytes + data_bytes bytes. _IOC_SIZE has 14 bits, hence the limit.
// Numbers are in the machine's byte order (little-endian, as everywhere in Sheen).
//
// Caller: zero the message, call PrepareIoctl, set the inputs named at the command. Daemon: check
// with CheckIoctl, answer with the same message, outputs set. Errors are errno values of the ioctl
// itself; for all commands:
//   EINVAL      bad magic, header_bytes, data_bytes, flag or field
//   EPROTO      `version` is not spoken by the daemon (the caller says: versions differ)
//   ENOTTY      not a Sheen file (other filesystems answer so), or a command unknown to the daemon
// The kernel checks no permission for an ioctl beyond that the file could be opened: the daemon
// (and the MDS) do, with the ids of the FUSE request, and refuse changes on a read-only mount.
//
// Long answers come in chunks; the caller asks on with `index` until index + count == total.
//
// Immutable values; no functions that block.
#pragma once

#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sheen {

inline constexpr uint32_t kIoctlMagic = 0x4E454853;  // "SHEN"
inline constexpr uint16_t kIoctlVersion = 1;
inline constexpr uint16_t kIoctlHeaderBytes = 64;
inline constexpr uint32_t kIoctlDataBytes = 16256;

struct IoctlMessage {
  uint32_t magic = 0;
  uint16_t version = 0;
  uint16_t header_bytes = 0;
  uint32_t flags = 0;       // in: per command; out: IoctlFlag bits the answer has
  uint32_t index = 0;       // in: first entry or byte wanted of a long answer
  uint32_t count = 0;       // out: entries or bytes in this chunk
  uint32_t total = 0;       // out: entries or bytes altogether
  uint32_t data_bytes = 0;  // in and out: valid bytes of `data`
  uint32_t mode = 0;        // in: kCreateWithLayout: permission bits, umask applied
  uint64_t fid_seq = 0;     // in or out: a FID
  uint32_t fid_oid = 0;
  uint32_t fid_ver = 0;
  uint64_t stamp = 0;       // out: same in all chunks of one answer; else start again at index 0;
                            // in: kHsmAction, kHsmJob
  uint32_t name_bytes = 0;  // in: kCreateWithLayout: the name is the first bytes of `data`
  uint32_t reserved = 0;    // 0
  char data[kIoctlDataBytes] = {};
};
static_assert(offsetof(IoctlMessage, fid_seq) == 32);
static_assert(offsetof(IoctlMessage, data) == kIoctlHeaderBytes);
static_assert(sizeof(IoctlMessage) == kIoctlHeaderBytes + kIoctlDataBytes);
static_assert(sizeof(IoctlMessage) < (1U << 14), "does not fit the size field of an ioctl number");

// In `flags`.
enum IoctlFlag : uint32_t {
  // In, kGetLayout of a directory. None: its own default (ENODATA: it has none).
  kIoctlEffective = 1U << 0,  // what a file created in it gets: own, else root's, else built in
  // Out, kGetLayout: the directory has no default of its own; this one is inherited.
  kIoctlInherited = 1U << 1,
  // In, kSetLayout of a directory: remove its default. Success when there is none.
  kIoctlRemove = 1U << 2,
};

// In `flags` of kSetLayout of a regular file with components.
inline constexpr uint32_t kIoctlAddComponents = 1U << 5;  // the template's, behind the last one
// The component with the id `index`, or with 0 all that have no objects; only from the end. Their
// bytes are lost. No data.
inline constexpr uint32_t kIoctlDeleteComponents = 1U << 6;
// Of the component with the id `index`: `count` are set, then `total` cleared, both
// layout::ComponentFlag bits. No data.
inline constexpr uint32_t kIoctlSetComponentFlags = 1U << 7;

// In `flags` of kDataVersion; none: what others hold back is written first.
inline constexpr uint32_t kIoctlAsIs = 1U << 3;
inline constexpr uint32_t kIoctlAlone = 1U << 4;  // and they keep no lock on it

// In `index` of kMigrate, in this order; copying as often as it takes.
enum IoctlMigrateStep : uint32_t {
  kMigrateBegin = 1,   // data: a template, empty: as the layout is
  kMigrateCopy = 2,    // data: IoctlCopy, in: offset, length; out: next, size, copied
  kMigrateHold = 3,    // out: count 1: everything is copied; 0: copy again, from 0, under the hold
  kMigrateFinish = 4,
  kMigrateEnd = 5,     // gives it up; so does the close of the file
};
struct IoctlCopy {
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t next = 0;    // where to go on; `size`: all is copied, and survives power loss
  uint64_t size = 0;
  uint64_t copied = 0;  // bytes of this step, without holes
};

// Not used by anything in the kernel's ioctl-number list.
inline constexpr unsigned kIoctlType = 0xD5;

// Which file is meant: always the one that the ioctl is called on.

// Out: fid, the identity of the open file or directory. Other outputs 0.
inline constexpr unsigned long kIoctlGetFid = _IOWR(kIoctlType, 1, IoctlMessage);

// The layout of the open regular file, or the default template of the open directory.
// In: flags (kIoctlEffective, directories only), index = byte offset. Out: fid; data = bytes
// [index, index + count) of layout::Encode of it; total = all its bytes; stamp = changes whenever
// the layout does (its generation, or a checksum of the bytes).
// A regular file that has no layout yet (mknod) answers with total 0.
// Errors: ENODATA a directory without a default, without kIoctlEffective.
inline constexpr unsigned long kIoctlGetLayout = _IOWR(kIoctlType, 2, IoctlMessage);

// Directory: sets (or with kIoctlRemove, data_bytes 0, removes) its default template.
// Regular file opened for writing that has no layout yet: gives it one. With
// kIoctlAddComponents, kIoctlDeleteComponents, kIoctlSetComponentFlags: changes the components that
// it has.
// In: data = layout::Encode of a template (uninstantiated components). Survives power loss when
// answered. Errors: EEXIST the file has a layout; EINVAL the template breaks a rule of
// layout::Validate; EPERM, EACCES the caller may not write the file (the open file does not count),
// EROFS.
inline constexpr unsigned long kIoctlSetLayout = _IOWR(kIoctlType, 3, IoctlMessage);

// On the open PARENT directory: creates a regular file with this layout, in one step.
// In: mode; name_bytes; data = name, then layout::Encode of the template; data_bytes = both.
// Out: fid. The file is not opened. Errors: EEXIST the name exists, EINVAL as above or a bad name,
// ENAMETOOLONG, ENOTDIR, EACCES no write permission in the directory, ENOSPC, EROFS.
inline constexpr unsigned long kIoctlCreateWithLayout = _IOWR(kIoctlType, 4, IoctlMessage);

// Space of the targets: MDTs first, then OSTs, each by index. In: index = first target wanted.
// Out: data = serialized sheen.v1.StatFsReply with `count` targets, total = targets altogether.
// A target that does not answer is listed with up = false; the call does not wait for it.
inline constexpr unsigned long kIoctlStatFsTargets = _IOWR(kIoctlType, 5, IoctlMessage);

// In: fid; index = first link wanted. Out: data = `count` paths, each ended by a NUL, relative to
// the filesystem's root, no leading slash (the root itself: empty); total = links altogether, of
// which at least one is listed.
// Errors: ENOENT no such object, or it is open but unlinked; EINVAL not a FID; ENAMETOOLONG a path
// does not fit the message; EACCES a directory above it may not be searched by the caller.
inline constexpr unsigned long kIoctlFidToPath = _IOWR(kIoctlType, 6, IoctlMessage);

// Which client this mount is. Out: data = its UUID as text, 36 characters; other outputs 0.
inline constexpr unsigned long kIoctlGetClient = _IOWR(kIoctlType, 7, IoctlMessage);

// Records of an MDT's changelog, for the superuser. In: index = the MDT; data = serialized
// sheen.v1.ReadChangelogRequest (its bytes_max is lowered to what fits). Out: data = serialized
// sheen.v1.ReadChangelogReply; count = its records.
// Errors: ENODEV no such MDT, ENOENT no such user, EPERM.
inline constexpr unsigned long kIoctlReadChangelog = _IOWR(kIoctlType, 20, IoctlMessage);

// In: index = the MDT; data = serialized sheen.v1.ClearChangelogRequest. Errors: as above, and
// EINVAL a record that is not there yet.
inline constexpr unsigned long kIoctlClearChangelog = _IOWR(kIoctlType, 21, IoctlMessage);

// ---- files from S3, in Lustre's words and numbers ----

// State of the open regular file. In: index = byte offset. Out: data = bytes [index, index + count)
// of a serialized sheen.v1.HsmFileState; total = all its bytes; stamp = changes whenever they do.
inline constexpr unsigned long kIoctlHsmState = _IOWR(kIoctlType, 8, IoctlMessage);

// Flags of the open regular file (HS_*). In: data = one IoctlHsmFlags. Errors: EOPNOTSUPP it is not
// from S3; EPERM not the owner, or only root may; EINVAL flags, or another archive id than its own.
struct IoctlHsmFlags {
  uint32_t set = 0;
  uint32_t clear = 0;
  uint32_t archive_id = 0;  // 0: whatever it is
};
inline constexpr unsigned long kIoctlHsmSet = _IOWR(kIoctlType, 9, IoctlMessage);

// Restore, release, cancel: on any file or directory of the mount, for files named by FID.
// In: mode = 11 restore, 12 release, 14 cancel; stamp = a number of the caller's for the restores
// of several calls together (kIoctlHsmJob), or 0; data = IoctlFid of each file.
// Out: data = an int32 errno of each, 0: done, asked for, or nothing to do; stamp = bytes released,
// or restores that were not waiting before. Errors: EROFS on a mount that may only read.
struct IoctlFid {
  uint64_t seq = 0;
  uint32_t oid = 0;
  uint32_t ver = 0;
};
inline constexpr uint32_t kIoctlFidsMax = kIoctlDataBytes / sizeof(IoctlFid);
inline constexpr unsigned long kIoctlHsmAction = _IOWR(kIoctlType, 10, IoctlMessage);

// In: stamp = the number. Out: data = a serialized sheen.v1.HsmJobReply.
inline constexpr unsigned long kIoctlHsmJob = _IOWR(kIoctlType, 11, IoctlMessage);

// A number that is another one after each change of the file's bytes. In: flags. Out: stamp.
// Errors: ENODATA it has no layout, EOPNOTSUPP its bytes are in S3.
inline constexpr unsigned long kIoctlDataVersion = _IOWR(kIoctlType, 22, IoctlMessage);

// Moves the bytes of the open file to other objects (`lfs migrate`), in steps: IoctlMigrateStep.
// It belongs to this open file and ends with it; until the last step has been answered the file
// is as it was. Errors: EBUSY somebody else is at it, or this open file is; EPERM, EACCES; EINVAL
// out of order; EAGAIN the hold was lost with a server; EOPNOTSUPP its bytes are in S3; ENOSPC.
inline constexpr unsigned long kIoctlMigrate = _IOWR(kIoctlType, 23, IoctlMessage);

// The open file and the one that `fid` names exchange their layouts, and so their bytes.
// Errors: EPERM other owners, or not the caller's; EBUSY; EINVAL the same file, no regular file.
inline constexpr unsigned long kIoctlSwapLayouts = _IOWR(kIoctlType, 24, IoctlMessage);

// Pools of OSTs, as the management service has them now. In: index = byte offset. Out: data = bytes
// [index, index + count) of a serialized sheen.v1.OstPoolList; total = all its bytes; stamp =
// changes whenever they do.
inline constexpr unsigned long kIoctlListPools = _IOWR(kIoctlType, 25, IoctlMessage);

// Of an otherwise zeroed message.
inline void PrepareIoctl(IoctlMessage* message) {
  message->magic = kIoctlMagic;
  message->version = kIoctlVersion;
  message->header_bytes = kIoctlHeaderBytes;
}

// 0, or the errno to answer (EINVAL 22, EPROTO 71). `bytes` is what the kernel handed over.
inline int CheckIoctl(const void* in, size_t bytes) {
  if (bytes != sizeof(IoctlMessage)) return 22;
  IoctlMessage header;
  std::memcpy(&header, in, kIoctlHeaderBytes);
  if (header.magic != kIoctlMagic) return 22;
  if (header.version != kIoctlVersion) return 71;
  if (header.header_bytes != kIoctlHeaderBytes || header.reserved != 0) return 22;
  if (header.data_bytes > kIoctlDataBytes || header.name_bytes > header.data_bytes) return 22;
  return 0;
}

}  // namespace sheen
