// migrate: the bytes of an open file get other objects, while it is read and written.
//
//   BeginCopy    a file without a name, of the new layout; only this mount knows it
//   CopySome     bytes and holes, as any reader sees them; the file's version is noted before
//   HoldLayout   the MDS calls the layout back from all who have it and gives it to nobody; it has
//                a new generation. The OSTs refuse older ones from here on, and say the version
//   FinishCopy   the two files exchange their layouts: one transaction of the MDS
//   EndCopy      the copy is closed, and goes with whatever objects it has then
//
// If the version is the same under the hold, the copy has every byte: whatever was answered before
// the fence counts in it, whatever comes later is refused and waits for the new layout. Until the
// exchange the file is as it was, whoever dies: the MDS ends the hold and destroys the copy with
// the handles, or with the session.

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <optional>

#include "base/log.h"
#include "client/convert.h"
#include "client/data_version.h"
#include "client/dot_lustre.h"
#include "client/glimpse.h"
#include "client/layout_hold.h"
#include "client/layout_lock.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr uint64_t kBufferBytes = 4 << 20;
// Holds end when the MDS restarts.
constexpr int kSwapAttemptsMax = 5;

std::unexpected<Error> NoMigration(const Fid& fid) {
  return Fail(Errc::kInvalid, "no migrate of " + fid.ToString() + " was begun by this handle");
}

// Of a migration's copying, which gets on.
async::Task<Status> RenewInTime(State* state, Migration* migration) {
  const Nanos now = state->Here()->shard()->Now();
  if (!migration->held || now - migration->renewed < kRenewHoldEvery) co_return Status();
  SHEEN_CO_TRY(co_await RenewHold(state, migration->file, migration->handle));
  migration->renewed = now;
  co_return Status();
}

// Gives back the hold if there is one, and the copy with its objects.
async::Task<void> CleanUp(Filesystem* fs, MigrationPtr migration) {
  State* const state = fs->state();
  const BackgroundMark mark(state);
  if (migration->held) {
    if (const auto file = state->files.Find(migration->file)) {
      file->layout_lock()->EndOwn(migration->handle);
    }
    co_await ReleaseHold(state, migration->file, migration->handle);
  }
  const Status closed = co_await fs->Close(migration->copy, migration->copy_handle);
  if (!closed) {
    SHEEN_LOG(Warn, "the copy {} of {} goes with this client's session: {}",
              migration->copy.ToString(), migration->file.ToString(), closed.error().ToString());
  }
}

// One step of a migration. When the handle has gone meanwhile, the end of the step cleans up.
class Step final {
 public:
  Step(Filesystem* fs, MigrationPtr migration) : fs_(fs), migration_(std::move(migration)) {
    free_ = migration_ && !migration_->busy.exchange(true);
    if (free_ && migration_->ended.load()) Leave();
  }
  ~Step() {
    if (free_) Leave();
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  bool free() const { return free_; }
  Migration* operator->() const { return migration_.get(); }

 private:
  void Leave() {
    free_ = false;
    migration_->busy.store(false);
    // Of EndCopy and this, one cleans up.
    if (!migration_->ended.load() || migration_->busy.exchange(true)) return;
    fs_->state()->Here()->shard()->Spawn(CleanUp(fs_, migration_));
  }

  Filesystem* const fs_;
  const MigrationPtr migration_;
  bool free_ = false;
};

async::Task<Result<std::string>> TemplateFrom(State* state, Fid fid) {
  SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, co_await FetchLayout(state, fid));
  co_return layout::Encode(layout::TemplateOf(*layout));
}

// Data of [offset, end), from where it begins; end when there is only a hole.
struct DataRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

async::Task<Result<DataRange>> NextData(Filesystem* fs, Fid fid, uint64_t offset, uint64_t end) {
  const Result<uint64_t> data = co_await fs->Seek(fid, offset, SeekKind::kData);
  if (!data && data.error().code() == Errc::kNoDevice) co_return DataRange{end, end};
  if (!data) co_return std::unexpected(data.error());
  if (*data >= end) co_return DataRange{end, end};
  const Result<uint64_t> hole = co_await fs->Seek(fid, *data, SeekKind::kHole);
  // Cut off meanwhile: what is read then is less, and the version another one.
  if (!hole && hole.error().code() == Errc::kNoDevice) co_return DataRange{*data, end};
  if (!hole) co_return std::unexpected(hole.error());
  co_return DataRange{*data, std::min(*hole, end)};
}

async::Task<Result<uint64_t>> CopyRange(Filesystem* fs, Migration* migration, DataRange range,
                                        std::vector<std::byte>* buffer) {
  uint64_t copied = 0;
  while (range.begin + copied < range.end && !migration->ended.load()) {
    SHEEN_CO_TRY(co_await RenewInTime(fs->state(), migration));
    const uint64_t at = range.begin + copied;
    const MutableByteSpan room(buffer->data(), std::min(kBufferBytes, range.end - at));
    SHEEN_CO_TRY_ASSIGN(const size_t got,
                        co_await fs->Read(migration->file, migration->handle, at, room));
    if (got == 0) break;
    for (size_t done = 0; done < got;) {
      SHEEN_CO_TRY_ASSIGN(const size_t written,
                          co_await fs->Write(migration->copy, migration->copy_handle, at + done,
                                             ByteSpan(room).subspan(done, got - done), {}));
      done += written;
    }
    copied += got;
  }
  co_return copied;
}

async::Task<Status> SetCopySize(Filesystem* fs, const Migration* migration, uint64_t size) {
  AttrChange change;
  change.set_size = true;
  change.size = size;
  const Result<Attr> set =
      co_await fs->SetAttr(0, migration->copy, change, migration->copy_handle);
  if (!set) co_return std::unexpected(set.error());
  co_return Status();
}

// All of its bytes are in the copy: now they survive power loss, however long the disks take. A
// hold is renewed meanwhile.
async::Task<Status> CompleteCopy(Filesystem* fs, const Migration* migration, uint64_t size) {
  std::optional<HoldRenewal> renewal;
  if (migration->held) renewal.emplace(fs->state(), migration->file, migration->handle);
  SHEEN_CO_TRY(co_await SetCopySize(fs, migration, size));
  co_return co_await fs->Fsync(migration->copy);
}

// While the size is unsafe the objects know the time of the last write, and they change: the MDS is
// told it, and goes by it from then on.
async::Task<Status> KeepTimes(Filesystem* fs, Fid fid) {
  SHEEN_CO_TRY_ASSIGN(const Attr attr, co_await fs->GetAttr(0, fid));
  if (!attr.size_unsafe) co_return Status();
  AttrChange change;
  change.valid = v1::SET_MTIME;
  change.mtime_ns = attr.mtime_ns;
  const Result<Attr> set = co_await fs->SetAttr(0, fid, change, 0);
  if (!set) co_return std::unexpected(set.error());
  co_return Status();
}

// Blocks and times of the objects of one side.
async::Task<Status> SideToWire(State* state, Fid fid, uint64_t handle, LayoutPtr layout,
                               v1::SwapLayoutsRequest::Side* wire) {
  if (!layout) co_return Fail(Errc::kNoData, fid.ToString() + " has no layout");
  ObjectStates states;
  SHEEN_CO_TRY(co_await Glimpse(state, layout, &states));
  const Attr merged = MergeGlimpse(Attr{}, *layout, states);
  FidToWire(fid, wire->mutable_fid());
  wire->set_handle(handle);
  wire->set_size(merged.size);
  wire->set_blocks(merged.blocks);
  wire->set_ctime_ns(merged.ctime_ns);
  wire->set_generation(layout->generation);
  co_return Status();
}

void TakeSwapped(State* state, const v1::Attr& wire) {
  const Result<LayoutPtr> layout = LayoutFromWire(wire.layout());
  const std::shared_ptr<OpenFile> file = state->files.Find(FidFromWire(wire.fid()));
  if (!layout || !file) return;
  DropLayoutLock(file.get());
  file->UpdateLayout(*layout);
}

async::Task<Status> Exchange(State* state, CredentialId who, v1::SwapLayoutsRequest request) {
  const Fid first = FidFromWire(request.first().fid());
  const Fid second = FidFromWire(request.second().fid());
  LockCache::Change change(&state->locks, {first, second});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSwapLayouts, who, request);
  auto answered =
      co_await MdsChange<v1::SwapLayoutsReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  TakeSwapped(state, answered->reply.first());
  TakeSwapped(state, answered->reply.second());
  co_await state->Here()->KernelForgets(first, lock::kAttrBits);
  co_await state->Here()->KernelForgets(second, lock::kAttrBits);
  co_return Status();
}

struct FencedLayout {
  LayoutPtr layout;
  SeenVersion seen;
};

async::Task<Result<FencedLayout>> HoldAndFence(State* state, CredentialId who, OpenFile* file,
                                               uint64_t handle) {
  FencedLayout fenced;
  SHEEN_CO_TRY_ASSIGN(fenced.layout, co_await TakeHold(state, who, file, handle));
  const HoldRenewal renewal(state, file->fid(), handle);
  SHEEN_CO_TRY_ASSIGN(fenced.seen, co_await FenceObjects(state, file, fenced.layout));
  co_return fenced;
}

// The MDS looks the handles up.
async::Task<Status> TellOfOpens(State* state, std::vector<Fid> fids) {
  const std::string what = fids.front().ToString();
  if (co_await state->Here()->TellOpensOf(std::move(fids))) co_return Status();
  co_return Fail(Errc::kTimedOut, "the MDS could not be told that " + what + " is open");
}

struct SwapSide {
  Fid fid;
  uint64_t handle;
  LayoutPtr layout;  // null: not held
  bool asked = false;
};

async::Task<Status> HoldSide(State* state, CredentialId who, SwapSide* side) {
  const std::shared_ptr<OpenFile> file = state->files.Find(side->fid);
  if (!file) co_return Fail(Errc::kBadHandle, side->fid.ToString() + " is not open");
  side->asked = true;
  SHEEN_CO_TRY_ASSIGN(side->layout, co_await TakeHold(state, who, file.get(), side->handle));
  co_return Status();
}

async::Task<Status> FenceSide(State* state, const SwapSide* side) {
  const std::shared_ptr<OpenFile> file = state->files.Find(side->fid);
  if (!file) co_return Fail(Errc::kBadHandle, side->fid.ToString() + " is not open");
  const Result<SeenVersion> fenced = co_await FenceObjects(state, file.get(), side->layout);
  if (!fenced) co_return std::unexpected(fenced.error());
  co_return Status();
}

// Both open here. Errors: kAgain: a hold ended, as at a restart of the MDS; nothing was changed.
async::Task<Status> SwapOnce(State* state, CredentialId who, SwapSide first, SwapSide second) {
  SwapSide sides[2] = {std::move(first), std::move(second)};
  Status done;
  std::optional<HoldRenewal> renewals[2];
  for (size_t i = 0; i < 2 && done; ++i) {
    SwapSide& side = sides[i];
    done = co_await HoldSide(state, who, &side);
    if (done) renewals[i].emplace(state, side.fid, side.handle);
  }
  for (size_t i = 0; i < 2 && done; ++i) done = co_await FenceSide(state, &sides[i]);
  v1::SwapLayoutsRequest request;
  v1::SwapLayoutsRequest::Side* const wires[2] = {request.mutable_first(),
                                                  request.mutable_second()};
  for (int i = 0; i < 2 && done; ++i) {
    done = co_await SideToWire(state, sides[i].fid, sides[i].handle, sides[i].layout, wires[i]);
  }
  if (done) done = co_await Exchange(state, who, std::move(request));
  for (const SwapSide& side : sides) {
    if (!side.asked) continue;
    if (const auto file = state->files.Find(side.fid)) file->layout_lock()->EndOwn(side.handle);
    if (done) continue;
    co_await ReleaseHold(state, side.fid, side.handle);
  }
  co_return done;
}

}  // namespace

async::Task<Status> Filesystem::BeginCopy(CredentialId who, Fid fid, uint64_t handle,
                                          std::string layout_template) {
  State* state = state_.get();
  if (!state->files.Find(fid)) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  if (state->migrations.Find(fid, handle)) {
    co_return Fail(Errc::kBusy, "this handle migrates " + fid.ToString() + " already");
  }
  SHEEN_CO_TRY(co_await TellOfOpens(state, {fid}));
  SHEEN_CO_TRY_ASSIGN(SeenVersion version, co_await NewestVersion(state, fid, DataLook::kFlushed));
  CreateOptions options;
  options.own_layout = layout_template.empty();
  if (options.own_layout) {
    SHEEN_CO_TRY_ASSIGN(layout_template, co_await TemplateFrom(state, fid));
  }
  options.flags = O_RDWR | O_CREAT;
  options.layout_template = std::move(layout_template);
  options.copy_of = fid;
  SHEEN_CO_TRY_ASSIGN(const Opened opened, co_await Create(who, Fid{}, "", std::move(options)));
  const auto migration = std::make_shared<Migration>();
  migration->file = fid;
  migration->handle = handle;
  migration->copy = opened.attr.fid;
  migration->copy_handle = opened.handle;
  migration->who = who;
  migration->version = std::move(version);
  if (state->migrations.Add(migration)) co_return Status();
  co_await CleanUp(this, migration);
  co_return Fail(Errc::kBusy, "this handle migrates " + fid.ToString() + " already");
}

async::Task<Result<CopyStep>> Filesystem::CopySome(Fid fid, uint64_t handle, uint64_t offset,
                                                   uint64_t length) {
  const Step step(this, state_->migrations.Find(fid, handle));
  if (!step.free()) co_return std::unexpected(NoMigration(fid).error());
  Migration* const migration = step.operator->();
  SHEEN_CO_TRY(co_await RenewInTime(state_.get(), migration));
  if (offset != 0 && offset != migration->next) {
    co_return Fail(Errc::kInvalid, fid.ToString() + " is copied from its beginning, or from " +
                                       std::to_string(migration->next) + " on");
  }
  if (offset == 0) {
    // Under a hold nobody writes.
    if (!migration->held) {
      SHEEN_CO_TRY_ASSIGN(migration->version,
                          co_await NewestVersion(state_.get(), fid, DataLook::kFlushed));
    }
    migration->next = 0;
    if (migration->began) SHEEN_CO_TRY(co_await SetCopySize(this, migration, 0));
    migration->began = true;
    migration->complete = false;
  }
  // Looking for data past a hole, and the reads and writes of one round, may take long as well.
  std::optional<HoldRenewal> renewal;
  if (migration->held) renewal.emplace(state_.get(), fid, handle);
  SHEEN_CO_TRY_ASSIGN(const Attr attr, co_await GetAttr(0, fid));
  // What was cut off meanwhile the copy keeps until its size is set.
  const uint64_t left = attr.size - std::min(attr.size, offset);
  const uint64_t end = offset + std::min(length, left);
  std::vector<std::byte> buffer(kBufferBytes);
  CopyStep copied{offset, attr.size, 0};
  while (copied.next < end && !migration->ended.load()) {
    SHEEN_CO_TRY_ASSIGN(const DataRange range, co_await NextData(this, fid, copied.next, end));
    SHEEN_CO_TRY_ASSIGN(const uint64_t bytes, co_await CopyRange(this, migration, range, &buffer));
    copied.copied += bytes;
    copied.next = range.end;
  }
  copied.next = migration->next = std::max(copied.next, end);
  if (copied.next < attr.size) co_return copied;
  SHEEN_CO_TRY(co_await CompleteCopy(this, migration, attr.size));
  migration->complete = true;
  co_return copied;
}

async::Task<Result<bool>> Filesystem::HoldLayout(Fid fid, uint64_t handle) {
  State* state = state_.get();
  const Step step(this, state->migrations.Find(fid, handle));
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!step.free() || !file) co_return std::unexpected(NoMigration(fid).error());
  step->held.reset();
  const Result<FencedLayout> fenced = co_await HoldAndFence(state, step->who, file.get(), handle);
  if (!fenced) {
    // Nothing is to be exchanged that is not fenced, nor anybody to wait for it.
    file->layout_lock()->EndOwn(handle);
    co_await ReleaseHold(state, fid, handle);
    co_return std::unexpected(fenced.error());
  }
  step->held = fenced->layout;
  step->renewed = state->Here()->shard()->Now();
  const bool unchanged = step->complete && fenced->seen == step->version;
  if (!unchanged) {
    step->complete = false;
    step->next = 0;
  }
  co_return unchanged;
}

async::Task<Status> Filesystem::FinishCopy(Fid fid, uint64_t handle) {
  State* state = state_.get();
  const Step step(this, state->migrations.Find(fid, handle));
  if (!step.free()) co_return std::unexpected(NoMigration(fid).error());
  const std::shared_ptr<OpenFile> copy = state->files.Find(step->copy);
  if (!step->held || !step->complete || !copy) {
    co_return Fail(Errc::kInvalid, "the copy of " + fid.ToString() + " is not complete");
  }
  const HoldRenewal renewal(state, fid, handle);
  SHEEN_CO_TRY(co_await KeepTimes(this, fid));
  v1::SwapLayoutsRequest request;
  request.set_same_bytes(true);
  FidToWire(fid, request.mutable_first()->mutable_fid());
  request.mutable_first()->set_handle(handle);
  request.mutable_first()->set_generation(step->held->generation);
  SHEEN_CO_TRY(co_await SideToWire(state, step->copy, step->copy_handle, copy->layout(),
                                   request.mutable_second()));
  SHEEN_CO_TRY(co_await Exchange(state, step->who, std::move(request)));
  if (const auto file = state->files.Find(fid)) file->layout_lock()->EndOwn(handle);
  step->held.reset();
  co_return Status();
}

void Filesystem::EndCopy(Fid fid, uint64_t handle) {
  const MigrationPtr migration = state_->migrations.Take(fid, handle);
  if (!migration) return;
  migration->ended.store(true);
  if (migration->busy.exchange(true)) return;  // the step under way does it
  state_->Here()->shard()->Spawn(CleanUp(this, migration));
}

async::Task<Status> Filesystem::SwapLayouts(CredentialId who, Fid first, uint64_t handle,
                                            Fid second) {
  if (first == second) co_return Fail(Errc::kInvalid, "a file cannot be swapped with itself");
  if (IsDotLustre(first) || IsDotLustre(second)) {
    co_return Fail(Errc::kInvalid, ".lustre has no layout");
  }
  SHEEN_CO_TRY_ASSIGN(const Opened other, co_await Open(who, second, O_RDONLY));
  const Status told = co_await TellOfOpens(state_.get(), {first, second});
  Status done = told;
  for (int attempt = 0; told && attempt < kSwapAttemptsMax; ++attempt) {
    done = co_await SwapOnce(state_.get(), who, {first, handle, nullptr, false},
                             {second, other.handle, nullptr, false});
    if (done || done.error().code() != Errc::kAgain) break;
  }
  const Status closed = co_await Close(second, other.handle);
  co_return done ? closed : done;
}

}  // namespace sheen::client
