// Reading: one request per piece, all at once, each answer's bytes straight into the caller's
// buffer.

#include "base/crc32c.h"
#include "client/block_sums.h"
#include "client/convert.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/page_ops.h"
#include "client/read_plan.h"
#include "client/state.h"

namespace sheen::client {
namespace {

struct PieceRead {
  IoPiece io;
  ObjectState object;
  CredentialId who = 0;
  const OpenFile* pages_of = nullptr;  // the kernel may keep what is read
};

Status CheckSums(const v1::OstReadReply& reply, const layout::Piece& piece, ByteSpan data,
                 const layout::ObjectId& object, uint32_t ost) {
  if (reply.block_crc_size() == 0) return {};
  const auto bad = [&](const std::string& what) {
    return Fail(Errc::kCorrupt, "object " + object.ToString() + " on OST " + std::to_string(ost) +
                                    " at " + std::to_string(piece.object_offset) + ": " + what);
  };
  const uint32_t block = reply.block_bytes();
  if (block == 0 || BlockCount(piece.object_offset, data.size(), block) !=
                        static_cast<uint64_t>(reply.block_crc_size())) {
    return bad("wrong number of checksums");
  }
  int index = 0;
  Status status;
  ForEachBlock(piece.object_offset, data, block, [&](ByteSpan bytes) {
    const uint32_t expected = reply.block_crc(index++);
    const uint32_t found = Crc32c(bytes);
    if (status && found != expected) {
      status = bad("checksum " + std::to_string(found) + ", expected " + std::to_string(expected));
    }
  });
  return status;
}

async::Task<Status> ReadPiece(State* state, LayoutPtr layout, PieceRead* piece,
                              MutableByteSpan out) {
  const layout::Component& component = layout->components[piece->io.piece.component];
  const layout::ObjectId object = layout::ObjectOf(component, piece->io.piece.stripe);
  const uint32_t ost = component.osts[piece->io.piece.stripe];
  v1::OstReadRequest request;
  ObjectToWire(component, piece->io.piece.stripe, request.mutable_object());
  request.set_offset(piece->io.piece.object_offset);
  request.set_length(static_cast<uint32_t>(piece->io.piece.length));
  request.set_layout_generation(layout->generation);
  if (piece->pages_of != nullptr) {
    request.set_pages(AskForPages(state, *piece->pages_of, ost, object));
  }
  rpc::Call call = MakeCall(rpc::Opcode::kOstRead, piece->who, request);
  call.bulk_sink = out;
  Result<rpc::Answer> answer = co_await state->Here()->Ost(ost, std::move(call));
  if (!answer) co_return std::unexpected(answer.error());
  v1::OstReadReply reply;
  if (!reply.ParseFromString(answer->body) || answer->bulk_bytes > out.size()) {
    co_return std::unexpected(BadReply("OST " + std::to_string(ost)));
  }
  if (reply.pages_known()) NotePagesKnown(state, request.pages());
  if (!answer->bulk.empty()) {
    std::memcpy(out.data(), answer->bulk.data(), answer->bulk_bytes);
  }
  if (state->block_sums.load(std::memory_order_relaxed)) {
    SHEEN_CO_TRY(CheckSums(reply, piece->io.piece, out.first(answer->bulk_bytes), object, ost));
  }
  piece->io.received = answer->bulk_bytes;
  piece->object = ObjectFromWire(reply.attr());
  co_return Status();
}

async::Task<Status> ReadPieces(State* state, LayoutPtr layout, std::vector<PieceRead>* pieces,
                               uint64_t offset, MutableByteSpan out) {
  const auto part = [&](const PieceRead& p) {
    return out.subspan(p.io.piece.file_offset - offset, p.io.piece.length);
  };
  if (pieces->size() == 1) {
    Status only = co_await ReadPiece(state, layout, pieces->data(), part(pieces->front()));
    co_return only;
  }
  std::vector<async::Task<Status>> tasks;
  tasks.reserve(pieces->size());
  for (PieceRead& piece : *pieces) tasks.push_back(ReadPiece(state, layout, &piece, part(piece)));
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : all) {
    if (!one) co_return one;
  }
  co_return Status();
}

// The size, when the answers tell it: all data in one object, whose answer is here.
std::optional<uint64_t> SizeFromAnswers(const layout::Layout& layout,
                                        const std::vector<PieceRead>& pieces) {
  const OnlyStripe only = OnlyStripeOf(layout);
  if (!only.valid || pieces.empty()) return std::nullopt;
  const ObjectState& object = pieces.back().object;
  if (!object.exists) return 0;
  return layout::FileBytesFrom(layout.components[only.component], only.stripe, object.size);
}

}  // namespace

async::Task<Result<size_t>> Filesystem::Read(Fid fid, uint64_t handle, uint64_t offset,
                                             MutableByteSpan out) {
  State* state = state_.get();
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!file) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  if (out.empty() || offset >= layout::kFileBytesMax) co_return 0U;
  out = out.first(std::min<uint64_t>(out.size(), layout::kFileBytesMax - offset));
  if (!state->options.noatime) {
    file->NoteRead(handle, state->Here()->shard()->WallNow().count());
  }
  if (HasHeld(file)) co_await WriteHeld(state, file);
  const CredentialId who = file->WhoOf(handle);
  const bool keeps = state->kernel.tells() && !file->IsDirect(handle);
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    LayoutPtr layout;
    if (std::optional<LayoutPtr> held = HeldLayout(state, file.get())) {
      layout = *std::move(held);
    } else {
      SHEEN_CO_TRY_ASSIGN(layout,
                          co_await LayoutForIo(state, file.get(), handle, IoKind::kRead));
    }
    std::vector<PieceRead> pieces;
    if (layout) {
      for (const IoPiece& io : PlanIo(*layout, offset, out.size(), state->options.max_rpc_bytes)) {
        pieces.push_back({io, {}, who, keeps ? file.get() : nullptr});
      }
    }
    const Status done = co_await ReadPieces(state, layout, &pieces, offset, out);
    if (!done) {
      SHEEN_CO_TRY(co_await AfterRefusal(state, file.get(), handle, layout, done.error(),
                                         IoKind::kRead));
      continue;
    }
    std::vector<IoPiece> answers;
    for (const PieceRead& piece : pieces) answers.push_back(piece.io);
    if (CoversAll(answers, out.size())) co_return out.size();
    std::optional<uint64_t> size;
    if (layout) size = SizeFromAnswers(*layout, pieces);
    if (!size || *size < file->size_seen()) {
      SHEEN_CO_TRY_ASSIGN(const Attr attr, co_await GetAttr(0, fid));
      size = attr.size;
      if (*size > offset && attempt == 0) {
        // Holes, or a layout that has grown elsewhere: the newest one tells.
        Result<LayoutPtr> newest = co_await FetchLayout(state, fid);
        if (!newest && newest.error().code() != Errc::kNoData) {
          co_return std::unexpected(newest.error());
        }
        if (newest && (!layout || (*newest)->generation != layout->generation)) {
          // Else I/O that goes on while the MDS is away would find the same one again.
          GiveUpLayoutLock(state, file.get());
          continue;
        }
      }
    }
    co_return FillGaps(answers, offset, *size, out);
  }
  co_return std::unexpected(LayoutKeepsChanging(fid));
}

}  // namespace sheen::client
