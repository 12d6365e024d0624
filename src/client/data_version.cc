#include "client/data_version.h"

#include <algorithm>
#include <map>

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr int kObjectsPerRequest = 256;
// As long as an OSS waits for a client that does not give a lock back.
constexpr Nanos kFenceMax = std::chrono::seconds(20);

struct Part {
  uint32_t ost = 0;
  v1::OstGetAttrRequest request;
};

v1::OstLook LookOf(DataLook look) {
  switch (look) {
    case DataLook::kAsIs:
      return v1::LOOK_AS_IS;
    case DataLook::kAlone:
      return v1::LOOK_ALONE;
    case DataLook::kFlushed:
      return v1::LOOK_FLUSHED;
  }
  return v1::LOOK_FLUSHED;
}

std::vector<Part> PartsOf(const layout::Layout& layout, const v1::OstGetAttrRequest& like) {
  std::map<uint32_t, std::vector<Part>> by_ost;
  for (const layout::Component& component : layout.components) {
    if (!component.instantiated()) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      std::vector<Part>& parts = by_ost[component.osts[stripe]];
      if (parts.empty() || parts.back().request.objects_size() == kObjectsPerRequest) {
        parts.push_back({component.osts[stripe], like});
      }
      ObjectToWire(component, stripe, parts.back().request.add_objects());
    }
  }
  std::vector<Part> all;
  for (auto& [ost, parts] : by_ost) std::ranges::move(parts, std::back_inserter(all));
  return all;
}

async::Task<Result<uint64_t>> AskOne(State* state, const Part* part, Nanos deadline) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstGetAttr, 0, part->request);
  call.deadline = deadline;
  auto answered =
      co_await OstCall<v1::OstGetAttrReply>(state->Here(), part->ost, std::move(call));
  if (!answered) {
    co_return std::unexpected(
        Annotate(answered.error(), "OST " + std::to_string(part->ost) + ": "));
  }
  if (answered->reply.attrs_size() != part->request.objects_size()) {
    co_return Fail(Errc::kProtocol, "OST " + std::to_string(part->ost) +
                                        ": an answer for another number of objects");
  }
  uint64_t sum = 0;
  for (const v1::ObjectAttr& attr : answered->reply.attrs()) sum += attr.version();
  co_return sum;
}

async::Task<Result<uint64_t>> AskAll(State* state, LayoutPtr layout, v1::OstGetAttrRequest like,
                                     Nanos deadline = Nanos::max()) {
  const std::vector<Part> parts = PartsOf(*layout, like);
  std::vector<async::Task<Result<uint64_t>>> tasks;
  for (const Part& part : parts) tasks.push_back(AskOne(state, &part, deadline));
  const std::vector<Result<uint64_t>> all = co_await async::WhenAll(std::move(tasks));
  uint64_t sum = 0;
  for (const Result<uint64_t>& one : all) {
    if (!one) co_return std::unexpected(one.error());
    sum += *one;
  }
  co_return sum;
}

bool InS3(const layout::Layout& layout) {
  return std::ranges::any_of(layout.components, [](const layout::Component& component) {
    return component.source.has_value();
  });
}

// The sum of its objects' versions: each is the number of the last change of its OST, so that
// every change raises the sum as long as the layout stays.
async::Task<Result<uint64_t>> VersionOf(State* state, LayoutPtr layout, DataLook look) {
  v1::OstGetAttrRequest like;
  like.set_look(LookOf(look));
  Result<uint64_t> version = co_await AskAll(state, layout, std::move(like));
  co_return version;
}

}  // namespace

std::vector<uint64_t> BirthsOf(const layout::Layout& layout) {
  std::vector<uint64_t> births;
  for (const layout::Component& component : layout.components) births.push_back(component.birth);
  return births;
}

async::Task<Result<SeenVersion>> FenceObjects(State* state, OpenFile* file, LayoutPtr layout) {
  IoView view = file->View();
  view.layout = layout;
  v1::OstGetAttrRequest like;
  like.set_look(v1::LOOK_FENCE);
  OwnerToWire(view, like.mutable_owner());
  Nanos wait = kFenceMax;
  if (state->options.deadline < wait) wait = state->options.deadline;
  const Nanos until = state->Here()->shard()->Now() + wait;
  SHEEN_CO_TRY_ASSIGN(const uint64_t version,
                      co_await AskAll(state, layout, std::move(like), until));
  co_return SeenVersion{version, BirthsOf(*layout)};
}

async::Task<Result<SeenVersion>> NewestVersion(State* state, Fid fid, DataLook look) {
  if (const auto open = state->files.Find(fid); HasHeld(open)) co_await WriteHeld(state, open);
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, co_await FetchLayout(state, fid));
    if (InS3(*layout)) {
      co_return Fail(Errc::kNotSupported, fid.ToString() + ": its bytes are in S3: no version");
    }
    const Result<uint64_t> version = co_await VersionOf(state, layout, look);
    if (version) co_return SeenVersion{*version, BirthsOf(*layout)};
    if (!MayBeReplaced(version.error().code())) co_return std::unexpected(version.error());
  }
  co_return std::unexpected(LayoutKeepsChanging(fid));
}

async::Task<Result<uint64_t>> Filesystem::DataVersion(Fid fid, DataLook look) {
  SHEEN_CO_TRY_ASSIGN(const SeenVersion seen, co_await NewestVersion(state_.get(), fid, look));
  co_return seen.version;
}

}  // namespace sheen::client
