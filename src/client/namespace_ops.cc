// Operations on names: one request to the MDS each.

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

template <class Request>
void NameToWire(Fid parent, std::string name, Request* request) {
  FidToWire(parent, request->mutable_parent());
  request->set_name(std::move(name));
}

async::Task<Result<Attr>> MakeAny(State* state, CredentialId who, v1::MakeNodeRequest request) {
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await state->Here()->NewFid());
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsMakeNode, who, request);
  auto answered = co_await MdsCall<v1::MakeNodeReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return AttrFromWire(answered->reply.attr());
}

}  // namespace

async::Task<Result<Attr>> Filesystem::Lookup(CredentialId who, Fid parent, std::string name) {
  State* state = state_.get();
  v1::LookupRequest request;
  NameToWire(parent, std::move(name), &request);
  for (bool settled = false;; settled = true) {
    rpc::Call call = MakeCall(rpc::Opcode::kMdsLookup, who, request);
    auto answered = co_await MdsCall<v1::LookupReply>(state->Here(), std::move(call));
    if (!answered) co_return std::unexpected(answered.error());
    // A close of this mount may be on its way: then the size is asked for after it.
    const Fid fid = FidFromWire(answered->reply.attr().fid());
    const std::shared_ptr<OpenFile> file = state->files.Find(fid);
    if (!settled && file && file->closing()) {
      const std::shared_ptr<OpenFile> open = co_await SettledFile(state, fid);
      continue;
    }
    Result<Attr> attr = co_await FinishAttr(state, std::move(*answered->reply.mutable_attr()));
    co_return attr;
  }
}

async::Task<Result<Attr>> Filesystem::MakeNode(CredentialId who, Fid parent, std::string name,
                                               uint32_t mode, uint64_t rdev) {
  v1::MakeNodeRequest request;
  NameToWire(parent, std::move(name), &request);
  request.set_mode(mode);
  request.set_rdev(rdev);
  Result<Attr> made = co_await MakeAny(state_.get(), who, std::move(request));
  co_return made;
}

async::Task<Result<Attr>> Filesystem::Symlink(CredentialId who, Fid parent, std::string name,
                                              std::string target) {
  v1::MakeNodeRequest request;
  NameToWire(parent, std::move(name), &request);
  request.set_mode(0120777);
  request.set_symlink_target(std::move(target));
  Result<Attr> made = co_await MakeAny(state_.get(), who, std::move(request));
  co_return made;
}

async::Task<Result<Attr>> Filesystem::Link(CredentialId who, Fid fid, Fid parent,
                                           std::string name) {
  State* state = state_.get();
  v1::LinkRequest request;
  FidToWire(fid, request.mutable_fid());
  NameToWire(parent, std::move(name), &request);
  const std::shared_ptr<OpenFile> settled = co_await SettledFile(state, fid);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsLink, who, request);
  auto answered = co_await MdsCall<v1::LinkReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  NoteTransno(state, fid, answered->transno);
  Result<Attr> attr = co_await FinishAttr(state, std::move(*answered->reply.mutable_attr()));
  co_return attr;
}

async::Task<Status> Filesystem::Unlink(CredentialId who, Fid parent, std::string name) {
  v1::UnlinkRequest request;
  NameToWire(parent, std::move(name), &request);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsUnlink, who, request);
  auto answered = co_await MdsCall<v1::UnlinkReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  NoteTransno(state_.get(), FidFromWire(answered->reply.fid()), answered->transno);
  co_return Status();
}

async::Task<Status> Filesystem::RemoveDir(CredentialId who, Fid parent, std::string name) {
  v1::RemoveDirRequest request;
  NameToWire(parent, std::move(name), &request);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsRemoveDir, who, request);
  auto answered = co_await MdsCall<v1::RemoveDirReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return Status();
}

async::Task<Status> Filesystem::Rename(CredentialId who, Fid old_parent, std::string old_name,
                                       Fid new_parent, std::string new_name, uint32_t flags) {
  v1::RenameRequest request;
  FidToWire(old_parent, request.mutable_old_parent());
  request.set_old_name(std::move(old_name));
  FidToWire(new_parent, request.mutable_new_parent());
  request.set_new_name(std::move(new_name));
  request.set_flags(flags);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsRename, who, request);
  auto answered = co_await MdsCall<v1::RenameReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  NoteTransno(state_.get(), FidFromWire(answered->reply.fid()), answered->transno);
  co_return Status();
}

async::Task<Result<std::string>> Filesystem::ReadLink(CredentialId who, Fid fid) {
  v1::ReadLinkRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReadLink, who, request);
  auto answered = co_await MdsCall<v1::ReadLinkReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(*answered->reply.mutable_target());
}

async::Task<Result<DirBatch>> Filesystem::ReadDir(CredentialId who, Fid fid, uint64_t cookie,
                                                  bool plus) {
  constexpr uint32_t kBatchBytes = 256 << 10;
  v1::ReadDirRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_cookie(cookie);
  request.set_bytes_max(kBatchBytes);
  request.set_plus(plus);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReadDir, who, request);
  auto answered = co_await MdsCall<v1::ReadDirReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  DirBatch batch;
  batch.end = answered->reply.end();
  batch.parent = FidFromWire(answered->reply.parent());
  batch.entries.reserve(static_cast<size_t>(answered->reply.entries_size()));
  for (const v1::Entry& wire : answered->reply.entries()) {
    SHEEN_CO_TRY_ASSIGN(DirEntry entry, EntryFromWire(wire, plus));
    batch.entries.push_back(std::move(entry));
  }
  if (batch.entries.empty() && !batch.end) {
    co_return Fail(Errc::kProtocol, "mds0: a part of " + fid.ToString() + " without an entry");
  }
  co_return batch;
}

}  // namespace sheen::client
