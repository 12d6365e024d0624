// Files from S3, in the words of Lustre's HSM: what the MDS says of them, and what the OSTs have of
// their bytes.
//
// On a shard of the filesystem, as its operations.
#pragma once

#include "client/filesystem.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

// With the ranges that are here, changed, and only in S3.
async::Task<Result<v1::HsmFileState>> GetHsmState(Filesystem* filesystem, CredentialId who,
                                                  Fid fid);
struct HsmFlags {  // Lustre's HS_*
  uint32_t set = 0;
  uint32_t clear = 0;
  uint32_t archive_id = 0;  // 0: the file's
};
// Errors: kPerm, kInvalid, kNotSupported (not from S3).
async::Task<Status> SetHsmFlags(Filesystem* filesystem, CredentialId who, Fid fid,
                                HsmFlags flags);
// Drops from the OSTs what S3 has unchanged, and gives the bytes. Errors: kPerm (changed here,
// kept, not the owner), kBusy (open for writing), kNotSupported (not from S3).
async::Task<Result<uint64_t>> HsmRelease(Filesystem* filesystem, CredentialId who, Fid fid);
// Restores that are to be done, or not to be done.
async::Task<Result<v1::HsmRequestReply>> RequestHsm(Filesystem* filesystem, CredentialId who,
                                                    v1::HsmRequest request);
async::Task<Result<v1::HsmJobReply>> GetHsmJob(Filesystem* filesystem, CredentialId who,
                                               uint64_t job);

}  // namespace sheen::client
