// What the files sheen_*.cc share: node ids, credentials, replies. The operations themselves are
// coroutines named as the FUSE operations.
//
// Shard-confined as the request.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "async/shard.h"
#include "client/filesystem.h"
#include "fuse/libfuse.h"
#include "sheen/ioctl.h"

namespace sheen::fuse {

inline client::Filesystem* FsOf(fuse_req_t req) {
  return static_cast<client::Filesystem*>(fuse_req_userdata(req));
}
inline void Spawn(async::Task<void> task) { async::Shard::Current()->Spawn(std::move(task)); }

// FUSE fixes the root's node id to 1; every other is the FID, packed.
Fid FidOfNode(const client::Filesystem* fs, fuse_ino_t node);
fuse_ino_t NodeOf(const client::Filesystem* fs, const Fid& fid);
// The id of the calling process' uid, gid, groups and job. What /proc tells is read at most once a
// second for a process.
client::CredentialId WhoAsks(fuse_req_t req);

// With what the kernel may keep of it. The kernel counts one lookup more: the answer must go out,
// or be taken back with FORGET's count. `name` empty: of a name that is not to be kept.
fuse_entry_param EntryOf(client::Filesystem* fs, const Fid& directory, const std::string& name,
                         const client::Attr& attr);

void ReplyError(fuse_req_t req, const Error& error);
void ReplyStatus(fuse_req_t req, const Status& status);
void ReplyEntry(fuse_req_t req, const Fid& directory, const std::string& name,
                const Result<client::Attr>& attr);
// Sends what EntryOf() made. A reply that does not reach the kernel, since the caller was killed,
// counts for nothing there: its lookup is taken back.
void ReplyCounted(fuse_req_t req, const Fid& fid, const fuse_entry_param& entry);
// Of GETATTR. What SETATTR brings the kernel takes for newer than what it was told meanwhile: it
// may not be kept.
void ReplyAttr(fuse_req_t req, const Result<client::Attr>& attr);
void ReplyChangedAttr(fuse_req_t req, const Result<client::Attr>& attr);

// The tables of callbacks, one a file.
void AddNameOps(fuse_lowlevel_ops* ops);       // sheen_names.cc
void AddFileOps(fuse_lowlevel_ops* ops);       // sheen_files.cc
void AddDirectoryOps(fuse_lowlevel_ops* ops);  // sheen_directories.cc
void AddXattrOps(fuse_lowlevel_ops* ops);      // sheen_xattrs.cc
void AddIoctlOps(fuse_lowlevel_ops* ops);      // sheen_ioctl.cc
void AddLockOps(fuse_lowlevel_ops* ops);       // sheen_locks.cc

// Ioctls for files from S3. (sheen_hsm.cc)
void ServeHsmState(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message);
void ServeHsmSet(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message);
void ServeHsmAction(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message);
void ServeHsmJob(fuse_req_t req, Fid fid, uint64_t, std::unique_ptr<IoctlMessage> message);

// Part of FLUSH and RELEASE; they never wait. (sheen_locks.cc)
// To be awaited before the answer, if there is one.
std::optional<async::Task<void>> FlushLocks(fuse_req_t req, fuse_ino_t node,
                                            const fuse_file_info& file);
void ReleaseLocks(fuse_req_t req, fuse_ino_t node, const fuse_file_info& file);
// What to ask for at INIT. Says in the log why it is nothing when that is not what was wanted.
unsigned LockCapabilities(const client::Filesystem* fs);

}  // namespace sheen::fuse
