// What requests do to objects whose bytes may be in S3: the engine's calls, with what is missing
// brought before. For objects without a source they are the engine's calls and nothing else.
//
// Thread-safe: runs on the calling shard.
#pragma once

#include <optional>

#include "oss/requests.h"
#include "ost/target.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {

// The source that a request names. nullopt: none, or no byte of it is this object's.
// Errors: kInvalid.
Result<std::optional<ost::ObjectSource>> SourceOf(const v1::ObjectName& name,
                                                  const layout::ObjectId& id);

async::Task<Result<ost::ReadResult>> ReadPresent(RequestContext context,
                                                 const v1::OstReadRequest* request,
                                                 layout::ObjectId id, MutableByteSpan out);
async::Task<Result<ost::ChangeResult>> WritePresent(RequestContext context,
                                                    const v1::ObjectName* name,
                                                    ost::WriteArgs args);
async::Task<Result<ost::ChangeResult>> TruncatePresent(RequestContext context,
                                                       const v1::ObjectName* name,
                                                       ost::TruncateArgs args);
async::Task<Result<ost::ChangeResult>> AllocatePresent(RequestContext context,
                                                       const v1::ObjectName* name,
                                                       ost::AllocateArgs args);
async::Task<Result<ost::ObjectAttr>> GetAttrPresent(RequestContext context,
                                                    const v1::ObjectName* name,
                                                    layout::ObjectId id);
// Of an object that does not exist yet: all absent.
async::Task<Result<v1::ObjectResidency>> ResidencyOf(RequestContext context,
                                                     const v1::ObjectName* name,
                                                     layout::ObjectId id);
// Before a release: errors as LazyLoader::CheckSource; kFenced.
async::Task<Status> CheckStillInS3(RequestContext context, layout::ObjectId id);
async::Task<Result<ost::SeekResult>> SeekPresent(RequestContext context, const v1::ObjectName* name,
                                                 layout::ObjectId id, uint64_t offset, bool hole);

}  // namespace sheen::oss
