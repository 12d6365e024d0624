// The changelog's readers and users: read, clear, register, deregister. Its state is one row,
// serialized by the superblock's latch.
//
// What a user registers for may not be passed over by an older program, so the superblock says
// while there is one. Errors: kPerm (not the superuser), kNoEntry (no such user), kInvalid (a
// record that is not there yet; a name), kNoSpace (too many users).
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

constexpr size_t kUsersMax = 256;
constexpr size_t kUserNameMax = 16;
constexpr uint32_t kReplyBytesMax = 1 << 20;
constexpr uint32_t kReplyBytesMin = 4096;  // one record always fits
// What one request looks at when the records are not what is asked for.
constexpr uint32_t kRowsPerRequest = 20'000;
// Up to so many rows are deleted one by one: cheaper for later readers than a range.
constexpr uint64_t kDeletesMax = 10'000;

Result<mdt::ChangelogState> ReadState(const mdt::Txn& txn) {
  SHEEN_TRY_ASSIGN(const auto bytes, txn.Get(mdt::kConfig, mdt::kChangelogStateKey));
  if (!bytes) return mdt::ChangelogState();
  return mdt::DecodeChangelogState(*bytes);
}

// By "cl1", "cl1-name", or the name alone.
mdt::ChangelogUser* FindUser(mdt::ChangelogState* state, std::string_view wanted) {
  for (mdt::ChangelogUser& user : state->users) {
    const std::string number = fmt::format("cl{}", user.id);
    const bool named = !user.name.empty() && wanted == user.name;
    if (named || wanted == number || wanted == user.ToString()) return &user;
  }
  return nullptr;
}

std::unexpected<Error> NoUser(std::string_view wanted) {
  return Fail(Errc::kNoEntry, fmt::format("no changelog user: {}", wanted));
}

// Deletes what every user is done with, and writes the state.
void PutState(OpContext* context, mdt::ChangelogState* state) {
  const Changelog& log = context->core->changelog;
  uint64_t done = state->users.empty() ? log.LowWater() : UINT64_MAX;
  for (const mdt::ChangelogUser& user : state->users) done = std::min(done, user.index);
  state->given = std::max(state->given, log.Last());
  if (done > state->purged) {
    if (done - state->purged <= kDeletesMax) {
      for (uint64_t index = state->purged + 1; index <= done; ++index) {
        context->txn->Delete(mdt::kChangelog, mdt::ChangelogKey(index));
      }
    } else {
      context->txn->DeleteRange(mdt::kChangelog, mdt::ChangelogKey(0),
                                mdt::ChangelogKey(done + 1));
    }
    state->purged = done;
  }
  context->txn->Put(mdt::kConfig, std::string(mdt::kChangelogStateKey), mdt::Encode(*state));
}

Status SetFeature(OpContext* context, bool on) {
  SHEEN_TRY_ASSIGN(const auto bytes, context->txn->Get(mdt::kConfig, mdt::kSuperblockKey));
  if (!bytes) return Fail(Errc::kCorrupt, "the superblock is gone");
  SHEEN_TRY_ASSIGN(mdt::Superblock superblock, mdt::DecodeSuperblock(*bytes));
  const uint64_t before = superblock.incompat;
  superblock.incompat &= ~mdt::kChangelogFeature;
  if (on) superblock.incompat |= mdt::kChangelogFeature;
  if (superblock.incompat == before) return {};
  context->txn->Put(mdt::kConfig, std::string(mdt::kSuperblockKey), mdt::Encode(superblock));
  return {};
}

Status CheckUserName(const mdt::ChangelogState& state, std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  if (name.size() > kUserNameMax || !std::ranges::all_of(name, fits) || name.starts_with("cl")) {
    return Fail(Errc::kInvalid, fmt::format("'{}' is no name for a changelog user: at most {} "
                                            "letters, digits, '-' and '_', not beginning with cl",
                                            name, kUserNameMax));
  }
  for (const mdt::ChangelogUser& user : state.users) {
    if (!name.empty() && user.name == name) {
      return Fail(Errc::kExists,
                  fmt::format("{} has the name '{}' already", user.ToString(), name));
    }
  }
  return {};
}

Status Register(OpContext* context, const v1::ChangelogUserRequest& request,
                mdt::ChangelogState* state, v1::ChangelogUserReply* reply) {
  SHEEN_TRY(CheckUserName(*state, request.name()));
  if (state->users.size() >= kUsersMax) {
    return Fail(Errc::kNoSpace, fmt::format("there are {} changelog users already; deregister one",
                                            state->users.size()));
  }
  mdt::ChangelogUser user;
  user.id = state->next_user++;
  user.name = request.name();
  SHEEN_TRY_ASSIGN(user.mask, mdt::ParseLogMask(request.mask(), mdt::DefaultLogMask()));
  user.index = context->core->changelog.LowWater();
  user.used_ns = context->now_ns;
  reply->set_user(user.ToString());
  reply->set_number(user.id);
  state->users.push_back(std::move(user));
  return {};
}

void ToWire(uint64_t index, const mdt::ChangelogRecord& record, v1::ChangelogRecord* out) {
  out->set_index(index);
  out->set_type(static_cast<uint32_t>(record.type));
  out->set_flags(record.flags);
  out->set_time_ns(record.time_ns);
  SetFid(record.fid, out->mutable_fid());
  if (record.parent != Fid()) SetFid(record.parent, out->mutable_parent());
  out->set_name(record.name);
  if (record.source != Fid()) SetFid(record.source, out->mutable_source());
  if (record.source_parent != Fid()) SetFid(record.source_parent, out->mutable_source_parent());
  out->set_source_name(record.source_name);
  out->set_uid(record.uid);
  out->set_gid(record.gid);
  out->set_nid(record.nid);
  out->set_open_mode(record.open_mode);
  out->set_xattr(record.xattr);
  out->set_job_id(record.job_id);
}

// One request's way through the rows.
struct Page {
  mdt::LogMask mask = 0;
  uint64_t last = 0;       // to be looked at
  uint64_t bytes_max = 0;  // of the answer
  uint64_t bytes = 0;
  uint32_t rows = 0;
  Status parsed;

  // False: enough.
  bool Take(uint64_t index, std::string_view value, v1::ReadChangelogReply* reply) {
    if (index > last) return false;
    auto record = mdt::DecodeChangelogRecord(value);
    if (!record) {
      parsed = std::unexpected(
          Annotate(std::move(record).error(), fmt::format("record {}: ", index)));
      return false;
    }
    if ((mask & mdt::LogBit(record->type)) != 0) {
      v1::ChangelogRecord wire;
      ToWire(index, *record, &wire);
      constexpr uint64_t kFraming = 8;
      bytes += wire.ByteSizeLong() + kFraming;
      if (bytes > bytes_max) return false;
      *reply->add_records() = std::move(wire);
    }
    reply->set_next(index + 1);
    return ++rows < kRowsPerRequest;
  }
};

}  // namespace

Status ChangelogUser(OpContext* context, std::string_view body, std::string* out) {
  v1::ChangelogUserRequest request;
  if (!request.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad request");
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(mdt::ChangelogState state, ReadState(*context->txn));
  v1::ChangelogUserReply reply;
  if (request.remove()) {
    mdt::ChangelogUser* const user = FindUser(&state, request.name());
    if (user == nullptr) return NoUser(request.name());
    reply.set_user(user->ToString());
    reply.set_number(user->id);
    state.users.erase(state.users.begin() + (user - state.users.data()));
  } else {
    SHEEN_TRY(context->CheckRoom());
    SHEEN_TRY(Register(context, request, &state, &reply));
  }
  SHEEN_TRY(SetFeature(context, !state.users.empty()));
  PutState(context, &state);
  context->durable = true;
  *out = reply.SerializeAsString();
  return {};
}

namespace ops {

Status ReadChangelog(OpContext* context, const v1::ReadChangelogRequest& request,
                     v1::ReadChangelogReply* reply) {
  if (!IsSuperuser(*context->credential)) return Fail(Errc::kPerm, "only root reads the changelog");
  // Before the rows: what is finished by now is among them.
  const uint64_t low = context->core->changelog.LowWater();
  SHEEN_TRY_ASSIGN(mdt::ChangelogState state, ReadState(*context->txn));
  Page page;
  page.mask = ~mdt::LogMask{0};
  page.bytes_max = std::clamp(request.bytes_max(), kReplyBytesMin, kReplyBytesMax);
  page.last = request.end() == 0 ? low : std::min(request.end(), low);
  uint64_t from = std::max(request.start(), state.purged + 1);
  if (!request.user().empty()) {
    const mdt::ChangelogUser* const user = FindUser(&state, request.user());
    if (user == nullptr) return NoUser(request.user());
    page.mask = user->mask == 0 ? mdt::DefaultLogMask() : user->mask;
    from = std::max(from, user->index + 1);
  }
  reply->set_next(from);
  if (state.users.empty() || from > page.last) {
    reply->set_end(true);
    return {};
  }
  bool more = false;
  SHEEN_TRY(context->txn->Scan(mdt::kChangelog, "", mdt::ChangelogKey(from),
                               [&](std::string_view key, std::string_view value) {
                                 const uint64_t index = LoadBig64(key.data());
                                 const bool goes_on = page.Take(index, value, reply);
                                 more = !goes_on && index <= page.last;
                                 return goes_on;
                               }));
  SHEEN_TRY(std::move(page.parsed));
  reply->set_end(!more);
  // Numbers of records that a power cut takes are given again: none of those is shown or passed by.
  if (page.rows > 0) context->wait_committed = context->mdt().LastWritten();
  return {};
}

Status ClearChangelog(OpContext* context, const v1::ClearChangelogRequest& request,
                      v1::ClearChangelogReply* /*reply*/) {
  if (!IsSuperuser(*context->credential)) {
    return Fail(Errc::kPerm, "only root clears the changelog");
  }
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(mdt::ChangelogState state, ReadState(*context->txn));
  mdt::ChangelogUser* const user = FindUser(&state, request.user());
  if (user == nullptr) return NoUser(request.user());
  const uint64_t low = context->core->changelog.LowWater();
  const uint64_t end = request.end() == 0 ? low : request.end();
  if (end > low) {
    return Fail(Errc::kInvalid, fmt::format("record out of range: {} (the last is {})", end, low));
  }
  user->index = std::max(user->index, end);
  user->used_ns = context->now_ns;
  PutState(context, &state);
  // Done again after a power cut, "all" would be more than it was: it is never done again.
  context->durable = true;
  return {};
}

}  // namespace ops
}  // namespace sheen::mds
