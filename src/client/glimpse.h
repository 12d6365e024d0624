// Asking the MDS and the OSTs for attributes as they are now, for the library's own files.
//
// Shard-confined as the ShardContext that they use.
#pragma once

#include <optional>

#include "client/attr_merge.h"
#include "client/open_file.h"
#include "client/state.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {

// Attributes from an MDS answer: with the OSTs' part where somebody may be writing. What is learned
// is noted in the file if it is open here. No OST is asked when `bits`, the locks that came with
// the answer, say that nobody but this mount writes and it knows the objects; then size_unsafe of
// what is returned is false.
async::Task<Result<Attr>> FinishAttr(State* state, v1::Attr wire, uint32_t bits);
// Fills `states` (shaped as the layout) from the OSTs: one request an OST, all at once.
async::Task<Status> Glimpse(State* state, LayoutPtr layout, ObjectStates* states);
// As Glimpse, with the newest layout when the objects of this one are gone; `layout` is the one
// that was asked. A file that is gone itself counts as one without bytes, as it was a moment ago.
async::Task<Status> GlimpseNewest(State* state, Fid fid, LayoutPtr* layout, ObjectStates* states);
// What attributes that a lock covers are by now: a file that this mount is writing has grown.
// nullopt: the servers are to be asked.
std::optional<Attr> AttrNow(State* state, const Attr& locked);
// The open file, once no close of this mount is under way; nullptr: not open here.
async::Task<std::shared_ptr<OpenFile>> SettledFile(State* state, Fid fid);
// Fetches the file's layout anew. Errors: those of the MDS; kNoData: it has none.
async::Task<Result<LayoutPtr>> FetchLayout(State* state, Fid fid);
// Makes the components of [offset, offset + length) exist, for who opened `handle` if it is not 0.
// Errors: kNoSpace, those of the MDS.
async::Task<Result<LayoutPtr>> Instantiate(State* state, OpenFile* file, uint64_t handle,
                                           uint64_t offset, uint64_t length);
// The MDS changed the file by this transno: an fsync through an open handle waits for it.
void NoteTransno(State* state, const Fid& fid, uint64_t transno);
// Brings the objects of an open file to a file size of `size`, extending with a hole.
async::Task<Status> TruncateObjects(State* state, OpenFile* file, uint64_t handle, uint64_t size);
// How often an operation whose layout was changed under it fetches the new one and starts again.
inline constexpr int kLayoutAttemptsMax = 8;
Error LayoutKeepsChanging(const Fid& fid);
void OwnerToWire(const IoView& view, v1::ObjectOwner* wire);

}  // namespace sheen::client
