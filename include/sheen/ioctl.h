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
  uint64_t stamp = 0;       // out: same in all chunks of one answer; else start again at index 0
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
// Regular file opened for writing that has no layout yet: gives it one.
// In: data = layout::Encode of a template (uninstantiated components). Survives power loss when
// answered. Errors: EEXIST the file has a layout; EINVAL the template breaks a rule of
// layout::Validate; EBADF the file is not open for writing; EPERM, EACCES, EROFS.
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
