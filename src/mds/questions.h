// Questions: pending names that somebody looks at. S3 is asked for them by an agent, at once, and
// what it says is written; then whoever waits goes on.
//
//   a client's lookup -> pending -> [agent: HEAD] -> FinishPending -> the lookup again
//
// Likewise names that are not here, and may be in S3 (unlisted.h): what S3 has is made.
//
// A name that several ask for is asked for once. A few calls of agents are under way at a time, not
// all of them of one repository, whose S3 may be slow; others wait for their turn. An agent that
// goes is replaced by another. After kPatience without an answer it is kIo, with the reason. An
// object that is gone means that there is no such name.
//
// Thread-safe: Ask on any shard.
#pragma once

#include <coroutine>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "async/task.h"
#include "mds/core.h"
#include "mds/op_context.h"
#include "rpc/repositories.h"

namespace sheen::mds {

class Questions final {
 public:
  static constexpr Nanos kPatience = std::chrono::seconds(60);
  // Of a listing, which can do without.
  static constexpr Nanos kListingPatience = std::chrono::seconds(3);

  // Fewer than the control calls that an agent takes at a time (rpc/grpc_services.h), of which
  // people want some.
  static constexpr size_t kCallsMax = 64;
  static constexpr size_t kCallsPerLinkMax = 32;

  // `agents`: those that are up; any thread. `new_fid`: for what is made.
  Questions(Core* core, std::function<std::vector<v1::AgentEntry>()> agents,
            std::function<async::Task<Result<Fid>>()> new_fid)
      : core_(core), agents_(std::move(agents)), new_fid_(std::move(new_fid)) {}

  // Good: the operation is to look again. Errors: kNoEntry (there is no such object), kIo (S3 or
  // the agents did not say, and why), kUnavailable (the server stops).
  async::Task<Status> Ask(Unasked unasked);
  // Those that wait end soon, and later ones at once. Any thread.
  void Stop();

 private:
  // Somebody asks for it; the others wait for that.
  struct Asked {
    bool over = false;
    bool listing = false;  // had little patience: its failure is nobody else's
    Status result;
    std::vector<std::function<void()>> waiters;
  };
  using AskedPointer = std::shared_ptr<Asked>;
  struct WaitFor;
  struct Place;
  struct Waiter;
  struct Order {
    uint32_t link = 0;
    bool absent = false;  // names that are not here
    Nanos until{0};
    bool listing = false;
    std::vector<Unasked::Name> names;
    std::vector<AskedPointer> asked;
  };

  static std::string MarkOf(const Unasked::Name& name);
  static Order& OrderFor(const Unasked::Name& name, std::vector<Order>* orders);
  async::Task<Status> AskOne(Order order);
  async::Task<Status> AskAgents(Order* order, std::vector<Status>* results);
  async::Task<Result<v1::AskObjectsReply>> CallAgents(const Order* order);
  async::Task<Status> Finish(const v1::Repository* link, const Unasked::Name* name,
                             v1::ObjectAnswer answer);
  // Of a name that is not here: makes what S3 has.
  async::Task<Status> Make(const v1::Repository* link, const Unasked::Name* name,
                           v1::ObjectAnswer answer);
  // Nobody can say any more what S3 has: only root may look.
  async::Task<Status> FinishWithoutLink(Order* order, std::vector<Status>* results);
  async::Task<Result<v1::Repository>> LinkOf(uint32_t id);
  bool IsStopping() const;
  bool IsUp(const std::string& agent) const;
  bool TakePlace(uint32_t link);  // REQUIRES: mutex_ is held
  // Who has it now, if somebody waits.
  std::shared_ptr<Waiter> GivePlaceBack(uint32_t link);
  void Leave(uint32_t link);
  // In an outage every look fails: not every one is logged.
  void LogFailure(const std::string& what);

  Core* const core_;
  const std::function<std::vector<v1::AgentEntry>()> agents_;
  const std::function<async::Task<Result<Fid>>()> new_fid_;
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<std::string, AskedPointer> asking_;  // by MarkOf
  size_t calls_ = 0;                            // that are under way
  std::map<uint32_t, size_t> calls_of_;         // likewise, of a link
  std::deque<std::shared_ptr<Waiter>> waiting_;
  Nanos logged_{0};
  uint64_t not_logged_ = 0;
  size_t next_agent_ = 0;
  bool stopping_ = false;
};

}  // namespace sheen::mds
