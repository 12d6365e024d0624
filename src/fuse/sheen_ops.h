// The FUSE front end: libfuse's low-level operations over client::Filesystem.
//
//   fuse_session_new(&args, &fuse::SheenOps(), sizeof(fuse_lowlevel_ops), &front_end);
//
// Each callback starts a coroutine on the shard it was called on (async::Shard::Current()) and
// returns; the coroutine replies. Node id = st_ino = fid.ToInode(), except the root's, which FUSE
// fixes to 1. No names, attributes or pages are kept in the kernel beyond what an open file needs.
//
// Thread-safe.
#pragma once

#include <cstdint>

#include "fuse/libfuse.h"

namespace sheen::fuse {

// The session's userdata must be a client::Filesystem* that is mounted and outlives the session.
const fuse_lowlevel_ops& SheenOps();
// For Session::set_admission: what its requests are counted for is known. False: it is being looked
// for. Never waits. Shard-confined: each shard knows callers of its own.
bool KnowsCaller(uint32_t pid, uint32_t uid, uint32_t gid);

}  // namespace sheen::fuse
