// Writing: held back where a lock allows it (held_ops.h), else written through: components first,
// then one request per piece, all at once, bytes straight from the caller's buffer.

#include <algorithm>
#include <optional>

#include "base/crc32c.h"
#include "client/block_sums.h"
#include "client/convert.h"
#include "client/file_lock_orders.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/page_ops.h"
#include "client/read_plan.h"
#include "client/state.h"

namespace sheen::client {
namespace {

struct WriteJob {
  State* state = nullptr;
  OpenFile* file = nullptr;
  uint64_t handle = 0;
  uint64_t offset = 0;
  ByteSpan data;
  WriteOptions options;
};

constexpr uint64_t kGrantUnit = 4096;
// An append is refused when somebody has written behind the end that it saw: a mount that was away
// while this one was, or one that writes there without appending.
constexpr int kAppendAttemptsMax = 1000;
constexpr uint64_t kPageBytes = 4096;

bool MayHold(const WriteOptions& options) {
  return !options.sync && !options.append && !options.uncached && !options.direct;
}

async::Task<Status> WritePiece(const WriteJob* job, IoView view, layout::Piece piece) {
  const layout::Component& component = view.layout->components[piece.component];
  const uint32_t ost = component.osts[piece.stripe];
  const ByteSpan bytes = job->data.subspan(piece.file_offset - job->offset, piece.length);
  v1::OstWriteRequest request;
  ObjectToWire(component, piece.stripe, request.mutable_object());
  request.set_offset(piece.object_offset);
  if (job->state->block_sums.load(std::memory_order_relaxed)) {
    request.set_block_bytes(view.layout->block_bytes);
    ForEachBlock(piece.object_offset, bytes, view.layout->block_bytes,
                 [&request](ByteSpan block) { request.add_block_crc(Crc32c(block)); });
  }
  OwnerToWire(view, request.mutable_owner());
  request.set_ctime_seen_ns(view.ctime_seen_ns);
  request.set_handle(job->handle);
  request.set_sync(job->options.sync);
  request.set_append(job->options.append);
  State* const state = job->state;
  uint64_t lock = 0;
  if (MayHold(job->options)) {
    lock = AskForLock(state, job->file, *view.layout, {piece.component, piece.stripe}, &request);
  }
  // Written through the kernel's cache, it is in pages there.
  const bool keeps = state->kernel.tells() && !job->options.uncached;
  const layout::ObjectId object = layout::ObjectOf(component, piece.stripe);
  if (keeps) request.set_pages(AskForWrittenPages(state, *job->file, ost, object));
  const uint64_t granted = state->grants.TakeUpTo(ost, bytes.size() + 2 * kGrantUnit);
  request.set_granted_bytes(granted);
  rpc::Call call = MakeCall(rpc::Opcode::kOstWrite, job->file->WhoOf(job->handle), request);
  call.bulk = bytes;
  call.file = job->file->fid();
  auto answered = co_await OstCall<v1::OstWriteReply>(state->Here(), ost, std::move(call));
  TakeLock(state, job->file, ost, lock, answered ? &answered->reply : nullptr);
  if (!answered && answered.error().code() == Errc::kAgain) state->grants.Add(ost, granted);
  if (!answered) co_return std::unexpected(answered.error());
  if (answered->reply.pages_known()) NotePagesKnown(state, request.pages());
  const ObjectState seen = ObjectFromWire(answered->reply.attr());
  job->file->NoteChange(view.layout, {piece.component, piece.stripe}, seen, answered->transno);
  co_return Status();
}

// Bytes written from the start without a gap; an error when there are none.
async::Task<Result<size_t>> WritePieces(const WriteJob* job, IoView view) {
  const std::vector<IoPiece> plan =
      PlanIo(*view.layout, job->offset, job->data.size(), job->state->options.max_rpc_bytes);
  if (plan.size() == 1) {
    const Status only = co_await WritePiece(job, view, plan.front().piece);
    if (!only) co_return std::unexpected(only.error());
    co_return plan.front().piece.length;
  }
  size_t first = 0;
  if (job->options.append) {
    // It takes the place: who is refused there has written nothing.
    const Status taken = co_await WritePiece(job, view, plan.front().piece);
    if (!taken) co_return std::unexpected(taken.error());
    first = 1;
  }
  std::vector<async::Task<Status>> tasks;
  tasks.reserve(plan.size());
  for (size_t i = first; i < plan.size(); ++i) {
    tasks.push_back(WritePiece(job, view, plan[i].piece));
  }
  std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  all.insert(all.begin(), first, Status());
  size_t written = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    // Before the layout of a piece is fetched again the whole write is: bytes are the same.
    if (!all[i] && (written == 0 || MayBeReplaced(all[i].error().code()))) {
      co_return std::unexpected(all[i].error());
    }
    if (!all[i]) break;
    written += plan[i].piece.length;
  }
  co_return written;
}

// With all components that the write reaches.
async::Task<Result<LayoutPtr>> LayoutForWrite(const WriteJob* job) {
  LayoutPtr layout;
  if (std::optional<LayoutPtr> held = HeldLayout(job->state, job->file)) {
    layout = *std::move(held);
  } else {
    SHEEN_CO_TRY_ASSIGN(layout, co_await LayoutForIo(job->state, job->file, job->handle,
                                                     IoKind::kChange));
  }
  if (layout && !layout::NeedsInstantiation(*layout, job->offset, job->data.size())) {
    co_return layout;
  }
  SHEEN_CO_TRY_ASSIGN(layout, co_await Instantiate(job->state, job->file, job->handle,
                                                   job->offset, job->data.size()));
  if (layout::NeedsInstantiation(*layout, job->offset, job->data.size())) {
    co_return Fail(Errc::kProtocol, "mds0: did not instantiate what was asked for");
  }
  co_return layout;
}

async::Task<Result<size_t>> WriteHere(WriteJob job) {
  const ByteSpan wanted = job.data;
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    job.data = wanted;
    SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, co_await LayoutForWrite(&job));
    // Of this layout: the one before may have ended elsewhere.
    const uint64_t limit = layout::LimitOf(*layout);
    if (job.offset >= limit) {
      co_return Fail(Errc::kFileTooBig, job.file->fid().ToString() + " cannot grow beyond " +
                                            std::to_string(limit) + " bytes");
    }
    job.data = wanted.first(std::min<uint64_t>(wanted.size(), limit - job.offset));
    IoView view = job.file->ViewForWrite();
    view.layout = layout;
    Result<size_t> written = co_await WritePieces(&job, view);
    if (written) co_return written;
    SHEEN_CO_TRY(co_await AfterRefusal(job.state, job.file, job.handle, layout, written.error(),
                                       IoKind::kChange));
  }
  co_return std::unexpected(LayoutKeepsChanging(job.file->fid()));
}

// Another mount may append too: their appends and ours take turns by a lock of the file's end at
// the MDS, under which the size is asked for.
async::Task<Result<size_t>> AppendInTurn(Filesystem* fs, WriteJob job) {
  const Fid fid = job.file->fid();
  FileLockSpec spec;
  spec.kind = lock::FileLockKind::kAppend;
  spec.type = lock::FileLockType::kWrite;
  spec.extent = lock::Extent::Whole();
  const bool locked = fs->KnowsFileLocks();
  if (locked) SHEEN_CO_TRY(co_await fs->SetLock(fid, 0, spec, {.wait = true}));
  const Result<Attr> attr = co_await fs->GetAttr(0, fid);
  Result<size_t> written = size_t{0};
  if (attr) {
    job.offset = attr->size;
    written = co_await WriteHere(job);
  } else {
    written = std::unexpected(attr.error());
  }
  if (locked) job.state->Here()->file_locks()->LetGo(fid, {0, spec.owner, spec.kind});
  co_return written;
}

// Where the file ends is decided here, not by the kernel, which may know an old size.
async::Task<Result<size_t>> Append(Filesystem* fs, WriteJob job) {
  const async::RwGuard turn = co_await job.file->append_turn()->Exclusive();
  const Result<LayoutPtr> layout =
      co_await LayoutForIo(job.state, job.file, job.handle, IoKind::kChange);
  if (!layout) co_return std::unexpected(layout.error());
  {
    // While nobody else has the file open for writing its size is known here; who opens it now is
    // answered after this append (ShardContext::OnLockCallback).
    const SoleAppend sole(job.file);
    // Nor may it wait for whoever replaces the layout, who would wait for it.
    const bool held = HeldLayout(job.state, job.file).has_value();
    const std::optional<Attr> known = held ? fs->KnownAttr(job.file->fid()) : std::nullopt;
    if (known) {
      job.offset = known->size;
      Result<size_t> written = co_await WriteHere(job);
      if (written || written.error().code() != Errc::kAgain) co_return written;
      job.file->MissedChanges();
    }
  }
  for (int attempt = 1;; ++attempt) {
    Result<size_t> written = co_await AppendInTurn(fs, job);
    const bool again = !written && written.error().code() == Errc::kAgain;
    if (!again || attempt == kAppendAttemptsMax) co_return written;
    job.file->MissedChanges();
  }
}

}  // namespace

async::Task<Result<size_t>> Filesystem::Write(Fid fid, uint64_t handle, uint64_t offset,
                                              ByteSpan data, WriteOptions options) {
  State* state = state_.get();
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!file) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  // A page that is written in part, or written back, is locked in the kernel until the answer.
  std::optional<KernelCache::OwnChange> changing;
  const bool whole_pages = offset % kPageBytes == 0 && data.size() % kPageBytes == 0;
  if (!whole_pages || options.direct) changing.emplace(&state->kernel, fid);
  if (data.empty()) co_return 0U;
  if (options.uncached) SHEEN_CO_TRY(co_await DropPrivileges(fid, options.drop_set_ids));
  if (MayHold(options)) {
    const bool held = co_await Hold(state, file, handle, offset, data);
    if (held) co_return data.size();
    file->held()->NoteWriteThrough();
  }
  // Older bytes never come after newer ones.
  if (HasHeld(file)) co_await WriteHeld(state, file);
  const WriteJob job{state, file.get(), handle, offset, data, options};
  Result<size_t> written =
      options.append ? co_await Append(this, job) : co_await WriteHere(job);
  if (!written) state->kernel.DataLost(fid, offset, data.size());
  co_return written;
}

}  // namespace sheen::client
