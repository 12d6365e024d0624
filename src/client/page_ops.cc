#include "client/page_ops.h"

#include <fcntl.h>

#include <algorithm>
#include <map>

#include "client/convert.h"
#include "client/held_ops.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr size_t kGivenUpTogether = 256;

// Files that nobody has open, so that nobody has them mapped: their next opening drops the pages.
void GiveUpOldest(State* state) {
  const auto may_go = [state](const Fid& fid) { return state->files.Find(fid) == nullptr; };
  std::map<uint32_t, v1::OstLockCancelRequest> requests;
  for (const PageRegistry::Entry& entry : state->pages.TakeSurplus(kGivenUpTogether, may_go)) {
    state->kernel.DataLost(entry.fid, 0, 0);
    // Opened meanwhile, with its pages.
    if (state->files.Find(entry.fid) != nullptr) state->kernel.ForgetPages(entry.fid, {});
    v1::HeldLock* const wire = requests[entry.ost].add_locks();
    wire->set_target(entry.ost);
    ObjectToWire(entry.object, wire->mutable_object());
    wire->set_lock(entry.id);
    wire->mutable_range()->set_start(0);
    wire->mutable_range()->set_end(lock::kEof);
  }
  for (auto& [ost, request] : requests) {
    state->Here()->shard()->Spawn(SendCancel(state, ost, std::move(request)));
  }
}

PageRegistry::Entry WantedOf(State* state, const OpenFile& file, uint32_t ost,
                             const layout::ObjectId& object) {
  PageRegistry::Entry wanted;
  wanted.session = OstSession(state, ost);
  wanted.ost = ost;
  wanted.object = object;
  wanted.fid = file.fid();
  return wanted;
}

}  // namespace

uint64_t AskForPages(State* state, const OpenFile& file, uint32_t ost,
                     const layout::ObjectId& object) {
  const PageRegistry::Entry wanted = WantedOf(state, file, ost, object);
  if (wanted.session == 0) return 0;
  return state->pages.Ask(wanted, [state] { return state->extents.NewId(); });
}

uint64_t AskForWrittenPages(State* state, const OpenFile& file, uint32_t ost,
                            const layout::ObjectId& object) {
  const std::vector<OpenHandle> handles = file.handles();
  const bool read = std::ranges::any_of(handles, [](const OpenHandle& handle) {
    return (handle.flags & O_ACCMODE) != O_WRONLY;
  });
  if (!read) return 0;
  const PageRegistry::Entry wanted = WantedOf(state, file, ost, object);
  if (wanted.session == 0) return 0;
  return state->pages.AskToWrite(wanted, [state] { return state->extents.NewId(); });
}

void NotePagesKnown(State* state, uint64_t id) {
  state->pages.Known(id);
  if (state->pages.size() > PageRegistry::kObjectsMax) GiveUpOldest(state);
}

void ForgetCalledPages(ShardContext* here, uint64_t id, const Fid& object_fid,
                       rpc::Client::AnswerFunction answer) {
  State* const state = here->state();
  const std::optional<PageRegistry::Entry> called = state->pages.TakeCalled(id);
  async::Shard* const shard = here->shard();
  // Called before, by a connection that has ended since: that may not be through.
  const Fid fid = called ? called->fid : object_fid;
  state->kernel.ForgetPages(fid, [shard, answer = std::move(answer)] {
    shard->Post([answer] { answer(); });
  });
}

void ForgetPagesOf(State* state, const std::set<uint32_t>& osts) {
  std::set<Fid> files;
  for (const PageRegistry::Entry& entry : state->pages.TakeOf(osts)) files.insert(entry.fid);
  for (const Fid& fid : files) state->kernel.ForgetPages(fid, {});
}

}  // namespace sheen::client
