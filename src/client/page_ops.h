// What is done with PageRegistry. Call on a shard of the filesystem.
#pragma once

#include <cstdint>
#include <set>

#include "client/open_file.h"
#include "layout/layout.h"
#include "rpc/client.h"

namespace sheen::client {

class ShardContext;
class State;

// For a read whose bytes the kernel may keep as pages: what it is to say to the OSS, 0 if nothing.
uint64_t AskForPages(State* state, const OpenFile& file, uint32_t ost,
                     const layout::ObjectId& object);
// The same for a write through the kernel's cache, of an object that this mount has read. While
// nobody here has the file open for reading nobody sees the pages that a write leaves: the next
// opening drops them, since the ctime has moved.
uint64_t AskForWrittenPages(State* state, const OpenFile& file, uint32_t ost,
                            const layout::ObjectId& object);
// The OSS has answered it, and said that it will call back.
void NotePagesKnown(State* state, uint64_t id);
// Called back: `answer` is called on this shard when the kernel has forgotten the file's pages.
// `object_fid`: of the object's name, for one whose pages are just being forgotten.
void ForgetCalledPages(ShardContext* here, uint64_t id, const Fid& object_fid,
                       rpc::Client::AnswerFunction answer);
// These OSTs may have forgotten what they knew: the kernel forgets it too, in its own time.
void ForgetPagesOf(State* state, const std::set<uint32_t>& osts);

}  // namespace sheen::client
