// Files from S3: what the MDS says of them, and what the OSTs have of their bytes.

#include <algorithm>
#include <map>

#include "client/convert.h"
#include "client/hsm.h"
#include "client/state.h"

namespace sheen::client {
namespace {

// Lustre's word for "its data is not (all) here".
constexpr uint32_t kHsmReleased = 0x4;
constexpr uint64_t kBlockBytes = 1 << 20;  // of residency, see docs/formats/ost.md
constexpr int kRangesMax = 65536;
// ost::BlockState, as the wire has it.
enum BlockState : uint32_t { kAbsent = 0, kClean = 1 };

struct StripeRef {
  uint32_t component = 0;
  uint32_t stripe = 0;
};
struct OstObjects {
  v1::OstResidencyRequest request;
  std::vector<StripeRef> stripes;
  v1::OstResidencyReply reply;
};

// The objects whose bytes may be in S3, by OST.
std::map<uint32_t, OstObjects> ObjectsWithSource(const layout::Layout& layout) {
  std::map<uint32_t, OstObjects> out;
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const layout::Component& component = layout.components[i];
    if (!component.source || !component.instantiated()) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      if (layout::ObjectBytesFor(component, stripe, component.source->end) == 0) continue;
      OstObjects& objects = out[component.osts[stripe]];
      ObjectToWire(component, stripe, objects.request.add_objects());
      objects.stripes.push_back({i, stripe});
    }
  }
  return out;
}

async::Task<Status> AskOst(State* state, uint32_t ost, OstObjects* objects) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstResidency, 0, objects->request);
  auto answered = co_await OstCall<v1::OstResidencyReply>(state->Here(), ost, std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  objects->reply = std::move(answered->reply);
  if (static_cast<size_t>(objects->reply.objects_size()) != objects->stripes.size()) {
    co_return std::unexpected(BadReply("OST " + std::to_string(ost)));
  }
  co_return Status();
}

struct Span {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint32_t state = 0;
};

// One object's blocks as spans of the file; what lies in one row of stripes is one piece.
void AddSpans(const layout::Component& component, uint32_t stripe,
              const v1::ObjectResidency& object, v1::HsmFileState* out, std::vector<Span>* spans) {
  uint64_t at = 0;
  for (const v1::ResidencyRun& run : object.runs()) {
    const uint64_t blocks = std::min(run.blocks(), object.bytes() / kBlockBytes + 1);
    const uint64_t end = std::min(at + blocks * kBlockBytes, object.bytes());
    const uint64_t bytes = end - std::min(at, end);
    if (run.state() == kAbsent) out->set_bytes_absent(out->bytes_absent() + bytes);
    if (run.state() == kClean) out->set_bytes_clean(out->bytes_clean() + bytes);
    if (run.state() > kClean) out->set_bytes_changed(out->bytes_changed() + bytes);
    while (at < end) {
      const uint64_t row = at / component.stripe_bytes;
      const uint64_t row_end = std::min((row + 1) * component.stripe_bytes, end);
      const uint64_t begin = (row * component.osts.size() + stripe) * component.stripe_bytes +
                             at % component.stripe_bytes;
      const bool joins =
          !spans->empty() && spans->back().end == begin && spans->back().state == run.state();
      if (joins) spans->back().end += row_end - at;
      if (!joins && spans->size() < 4 * kRangesMax) {
        spans->push_back({begin, begin + (row_end - at), run.state()});
      }
      at = row_end;
    }
  }
}

void PutRanges(std::vector<Span> spans, v1::HsmFileState* out) {
  std::ranges::sort(spans, {}, &Span::begin);
  for (const Span& span : spans) {
    const int last = out->ranges_size() - 1;
    if (last >= 0 && out->ranges(last).end() == span.begin &&
        out->ranges(last).state() == span.state) {
      out->mutable_ranges(last)->set_end(span.end);
      continue;
    }
    if (out->ranges_size() >= kRangesMax) {
      out->set_ranges_cut(true);
      return;
    }
    v1::FileRange* const range = out->add_ranges();
    range->set_begin(span.begin);
    range->set_end(span.end);
    range->set_state(span.state);
  }
}

async::Task<Status> AskOsts(State* state, const layout::Layout* layout, v1::HsmFileState* out) {
  std::map<uint32_t, OstObjects> by_ost = ObjectsWithSource(*layout);
  std::vector<async::Task<Status>> tasks;
  for (auto& [ost, objects] : by_ost) tasks.push_back(AskOst(state, ost, &objects));
  const std::vector<Status> asked = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : asked) SHEEN_CO_TRY(one);
  std::vector<Span> spans;
  for (const auto& [ost, objects] : by_ost) {
    for (size_t i = 0; i < objects.stripes.size(); ++i) {
      const StripeRef& ref = objects.stripes[i];
      AddSpans(layout->components[ref.component], ref.stripe,
               objects.reply.objects(static_cast<int>(i)), out, &spans);
    }
  }
  PutRanges(std::move(spans), out);
  co_return Status();
}

async::Task<Result<uint64_t>> ReleaseOne(State* state, Fid fid, uint32_t ost,
                                         v1::OstReleaseRequest body) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstRelease, 0, body);
  call.file = fid;
  auto answered = co_await OstCall<v1::OstReleaseReply>(state->Here(), ost, std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return answered->reply.bytes();
}

}  // namespace

async::Task<Result<v1::HsmFileState>> GetHsmState(Filesystem* filesystem, CredentialId who,
                                                  Fid fid) {
  State* const state = filesystem->state();
  v1::HsmStateRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsHsmState, who, request);
  auto answered = co_await MdsCall<v1::HsmStateReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  v1::HsmFileState out;
  *out.mutable_mds() = std::move(answered->reply);
  SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, LayoutFromWire(out.mds().layout()));
  out.mutable_mds()->clear_layout();
  if (layout) SHEEN_CO_TRY(co_await AskOsts(state, layout.get(), &out));
  if (out.bytes_absent() > 0) out.mutable_mds()->set_flags(out.mds().flags() | kHsmReleased);
  co_return out;
}

async::Task<Status> SetHsmFlags(Filesystem* filesystem, CredentialId who, Fid fid, HsmFlags flags) {
  State* const state = filesystem->state();
  v1::HsmSetRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_set(flags.set);
  request.set_clear(flags.clear);
  request.set_archive_id(flags.archive_id);
  LockCache::Change change(&state->locks, {fid});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsHsmSet, who, request);
  auto answered = co_await MdsChange<v1::HsmSetReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  co_await state->Here()->KernelForgets(fid, lock::kAttrBits);
  co_return Status();
}

async::Task<Result<uint64_t>> HsmRelease(Filesystem* filesystem, CredentialId who, Fid fid) {
  State* const state = filesystem->state();
  v1::HsmReleaseRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsHsmRelease, who, request);
  auto answered = co_await MdsCall<v1::HsmReleaseReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, LayoutFromWire(answered->reply.layout()));
  if (!layout) co_return uint64_t{0};
  std::vector<async::Task<Result<uint64_t>>> tasks;
  for (const auto& [ost, objects] : ObjectsWithSource(*layout)) {
    for (const v1::ObjectName& name : objects.request.objects()) {
      v1::OstReleaseRequest body;
      *body.mutable_object() = name;
      tasks.push_back(ReleaseOne(state, fid, ost, std::move(body)));
    }
  }
  const std::vector<Result<uint64_t>> released = co_await async::WhenAll(std::move(tasks));
  uint64_t bytes = 0;
  for (const Result<uint64_t>& one : released) {
    SHEEN_CO_TRY(one);
    bytes += *one;
  }
  co_return bytes;
}

async::Task<Result<v1::HsmRequestReply>> RequestHsm(Filesystem* filesystem, CredentialId who,
                                                    v1::HsmRequest request) {
  State* const state = filesystem->state();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsHsmRequest, who, request);
  auto answered = co_await MdsCall<v1::HsmRequestReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  if (answered->reply.errc_size() != request.fids_size()) {
    co_return std::unexpected(BadReply("mds0"));
  }
  co_return std::move(answered->reply);
}

async::Task<Result<v1::HsmJobReply>> GetHsmJob(Filesystem* filesystem, CredentialId who,
                                               uint64_t job) {
  State* const state = filesystem->state();
  v1::HsmJobRequest request;
  request.set_job(job);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsHsmJob, who, request);
  auto answered = co_await MdsCall<v1::HsmJobReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(answered->reply);
}

}  // namespace sheen::client
