// What S3 says of one object: type, owner, mode, times, and where a symbolic link points.
//
// Call on a shard; the link must outlive the call.
#pragma once

#include <string>

#include "agent/links.h"
#include "async/task.h"

namespace sheen::agent {

// Into `entry`, which has at least its key and, by "/" at its end, whether it is a directory.
// Errors: s3::Client's (kNoEntry: there is no such object), kInvalid (no target).
async::Task<Status> AskAttributes(Link* link, s3::CallOptions call, v1::ImportEntry* entry);
// Of a key alone. An answer in any case.
async::Task<v1::ObjectAnswer> AskObject(Link* link, s3::CallOptions call, std::string key);
// Of a name, a key without "/" at its end: the object, else the directory of that name, if it has
// an object or something is below it. An answer in any case.
async::Task<v1::ObjectAnswer> FindObject(Link* link, s3::CallOptions call, std::string name);

}  // namespace sheen::agent
