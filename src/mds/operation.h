// The operations by opcode, and the runner that takes one from request to answer:
//
//   Attempt on the shard, nothing blocks -> would block: Attempt on the BlockingPool
//                                        -> latch busy: parked in the latch's queue, then again
//                                        -> done: effects, wait for durability if asked, answer
//
// An attempt takes the latches known so far, looks in the reply slot whether the request has been
// executed before, runs the operation, and writes its batch with the slot's row in it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "mds/op_context.h"

namespace sheen::mds {

// Body of the request to body of the reply. May run several times.
using OperationFunction = Status (*)(OpContext* context, std::string_view body, std::string* reply);

// nullptr: not an operation of the MDS.
OperationFunction FindOperation(rpc::Opcode opcode);

// A request from a client.
// `waits` gets what it waited on.
async::Task<rpc::Response> RunRequest(Core* core, const rpc::Request* request, WaitTimes* waits);
// The server's own work, as superuser. `body` is what `function` takes.
async::Task<Status> RunInternal(Core* core, OperationFunction function, std::string body);
// With its answer, and durable where the operation asks for it.
async::Task<Result<std::string>> AskInternal(Core* core, OperationFunction function,
                                             std::string body);

// ---- the server's own operations ----

// Body: FID key. Destroys an open-unlinked file that nobody has open.
Status ReapOrphan(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ImportOrder, v1::ImportOutcome. Makes or brings up to date what an object in
// S3 stands for, or with `directory_only` a directory. Errors: kExists (a file that was not
// imported, or was changed here), kNotDirectory.
Status ImportEntry(OpContext* context, std::string_view body, std::string* reply);
// Likewise, of a name that S3 was asked for since it was not here (mds/unlisted.h): makes it, or
// does nothing. IMPORT_UNCHANGED: it is to be looked for again. IMPORT_SKIPPED: an import has come
// to its end meanwhile, without it.
Status MakeUnlisted(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ProbeOrder, v1::ImportEntriesReply.
Status ProbeImport(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ListImportedRequest, with a directory; v1::ListImportedReply.
Status ListImported(OpContext* context, std::string_view body, std::string* reply);
// Body: v1::AddRepositoryRequest. Answer: v1::Repository; its id is given here. Errors: kExists
// (overlaps another).
Status AddRepository(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::Repository, found by its id. Errors: kNoEntry, kExists.
Status UpdateRepository(OpContext* context, std::string_view body, std::string* reply);
// Body: path. Errors: kNoEntry.
Status RemoveRepository(OpContext* context, std::string_view body, std::string* reply);
// Body: v1::ImportEntriesRequest. All of its repository's keys have their names.
Status EndUnlisted(OpContext* context, std::string_view body, std::string* reply);
// Body: v1::Repository. What clients know of names in its directory they forget.
Status RecallNames(OpContext* context, std::string_view body, std::string* reply);
// Answer: v1::ListRepositoriesReply, without agents.
Status ListRepositories(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ChangelogUserRequest, v1::ChangelogUserReply (ops/changelog.cc).
Status ChangelogUser(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::DropOrder, v1::DropOutcome. Takes a name away that an import has made, if S3
// has all of it.
Status DropImported(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::FinishOrder, v1::ImportOutcome. What S3 says of a pending name.
Status FinishPending(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ListPendingRequest, v1::ListPendingReply.
Status ListPending(OpContext* context, std::string_view body, std::string* reply);
// Body and answer: v1::ReadDirRequest, v1::ReadDirReply.
Status ListEntries(OpContext* context, std::string_view body, std::string* reply);
// Body: FID key. Answer: the file's encoded layout; empty: it is not from S3.
Status LayoutOfSource(OpContext* context, std::string_view body, std::string* reply);
// Body: key of the row. A restore has ended.
Status DropHsmAction(OpContext* context, std::string_view body, std::string* reply);
// Answer: a sequence, big-endian.
Status TakeSequence(OpContext* context, std::string_view body, std::string* reply);
// Body: FID key, session id, handle (big-endian): closes a handle of a session that ended.
Status DropHandle(OpContext* context, std::string_view body, std::string* reply);
std::string DropHandleBody(const Fid& fid, uint64_t session, uint64_t handle);

}  // namespace sheen::mds
