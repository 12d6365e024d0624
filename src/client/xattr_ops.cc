// Extended attributes: the MDS keeps them, but for lustre.lov, trusted.lov and lustre.fid, which
// show layout and FID as Lustre does.

#include "client/convert.h"
#include "client/dot_lustre.h"
#include "client/glimpse.h"
#include "client/lov_xattr.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr char kCapability[] = "security.capability";
// How long "no capability" is believed: the kernel asks before each write.
constexpr Nanos kCapabilityWait = std::chrono::seconds(1);

bool IsLov(const std::string& name) { return name == "lustre.lov" || name == "trusted.lov"; }

std::string FidValue(const Fid& fid) {
  Encoder out;
  out.U64(fid.seq);
  out.U32(fid.oid);
  out.U32(fid.ver);
  return out.Take();
}

std::optional<Attr> AttrUnderLock(State* state, const Fid& fid) {
  return state->locks.FindAttr(fid, state->Here()->shard()->Now());
}

// Attributes tell of xattrs, whose changes move the ctime. The kernel asks for the access ACL of
// every directory that a path leads through, and for the capability of every file that is written.
bool KnownWithout(State* state, const Fid& fid, const std::string& name) {
  const bool access = name == "system.posix_acl_access";
  const bool acl = access || name == "system.posix_acl_default";
  const size_t dot = name.find('.');
  const std::string_view space = std::string_view(name).substr(0, dot);
  const bool kept = space == "user" || space == "trusted" || space == "security";
  if (!acl && (!kept || dot == std::string::npos || dot + 1 == name.size())) return false;
  const std::optional<Attr> known = AttrUnderLock(state, fid);
  if (!known) return false;
  return known->no_xattrs || (acl && !(access ? known->has_access_acl : known->has_default_acl));
}

// An answer without a value is one too.
std::optional<XattrCache::Answer> AnswerOf(const Result<std::string>& value) {
  if (value) return XattrCache::Answer(*value);
  if (value.error().code() == Errc::kNoData) return XattrCache::Answer();
  return std::nullopt;
}

async::Task<Result<std::string>> FromMds(State* state, CredentialId who, Fid fid,
                                         std::string name) {
  v1::GetXattrRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_name(std::move(name));
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetXattr, who, request);
  auto answered = co_await MdsCall<v1::GetXattrReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(*answered->reply.mutable_value());
}

}  // namespace

async::Task<Result<std::string>> Filesystem::GetXattr(CredentialId who, Fid fid, std::string name) {
  State* state = state_.get();
  if (name == "lustre.fid") co_return FidValue(fid);
  if (IsDotLustre(fid)) co_return Fail(Errc::kNoData);
  if (IsLov(name)) {
    SHEEN_CO_TRY_ASSIGN(const LayoutAnswer answer, co_await GetLayout(who, fid, false));
    if (answer.encoded.empty()) co_return Fail(Errc::kNoData);
    SHEEN_CO_TRY_ASSIGN(const layout::Layout layout, layout::Decode(answer.encoded));
    co_return EncodeLov(layout, fid);
  }
  if (KnownWithout(state, fid, name)) co_return Fail(Errc::kNoData);
  const bool capability = name == kCapability;
  const int64_t now = state->Here()->shard()->Now().count();
  if (capability) {
    const std::shared_ptr<OpenFile> file = state->files.Find(fid);
    if (file && file->KnownWithoutCapability(now)) co_return Fail(Errc::kNoData);
  }
  const std::optional<Attr> before = AttrUnderLock(state, fid);
  const XattrCache::Question question{who, fid, name};
  if (before) {
    const std::optional<XattrCache::Answer> kept = state->xattrs.Find(question, before->ctime_ns);
    if (kept && *kept) co_return **kept;
    if (kept) co_return Fail(Errc::kNoData);
  }
  Result<std::string> value = co_await FromMds(state, who, fid, std::move(name));
  const std::optional<Attr> after = AttrUnderLock(state, fid);
  const std::optional<XattrCache::Answer> answer = AnswerOf(value);
  if (answer && before && after && before->ctime_ns == after->ctime_ns) {
    state->xattrs.Put(question, after->ctime_ns, *answer);
  }
  if (capability && !value && value.error().code() == Errc::kNoData) {
    const std::shared_ptr<OpenFile> file = state->files.Find(fid);
    if (file) file->SetWithoutCapability(now + kCapabilityWait.count());
  }
  co_return value;
}

async::Task<Status> Filesystem::SetXattr(CredentialId who, Fid fid, std::string name,
                                         std::string value, uint32_t flags) {
  if (IsLov(name)) {
    SHEEN_CO_TRY_ASSIGN(const layout::Layout layout, DecodeLov(value));
    Status set = co_await SetLayout(who, fid, layout::Encode(layout));
    // A copy by tar or rsync sets it on a file that has its objects already: it keeps them.
    if (!set && set.error().code() == Errc::kExists) co_return Status();
    co_return set;
  }
  if (name == "lustre.fid") co_return Fail(Errc::kNotSupported, "lustre.fid cannot be set");
  if (name == kCapability) {
    if (const std::shared_ptr<OpenFile> file = state_->files.Find(fid)) {
      file->SetWithoutCapability(0);
    }
  }
  v1::SetXattrRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_name(std::move(name));
  request.set_value(std::move(value));
  request.set_flags(flags);
  LockCache::Change change(&state_->locks, {fid});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSetXattr, who, request);
  auto answered = co_await MdsChange<v1::SetXattrReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  NoteTransno(state_.get(), fid, answered->transno);
  co_return Status();
}

async::Task<Result<std::vector<std::string>>> Filesystem::ListXattr(CredentialId who, Fid fid) {
  if (IsDotLustre(fid)) co_return std::vector<std::string>();
  const std::optional<Attr> known = AttrUnderLock(state_.get(), fid);
  if (known && known->no_xattrs) co_return std::vector<std::string>();
  v1::ListXattrRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsListXattr, who, request);
  auto answered = co_await MdsCall<v1::ListXattrReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::vector<std::string>(answered->reply.names().begin(),
                                     answered->reply.names().end());
}

async::Task<Status> Filesystem::RemoveXattr(CredentialId who, Fid fid, std::string name) {
  v1::RemoveXattrRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_name(std::move(name));
  LockCache::Change change(&state_->locks, {fid});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsRemoveXattr, who, request);
  auto answered =
      co_await MdsChange<v1::RemoveXattrReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  NoteTransno(state_.get(), fid, answered->transno);
  co_return Status();
}

}  // namespace sheen::client
