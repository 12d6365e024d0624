// Questions: pending names that somebody looks at. S3 is asked for them by an agent, at once, and
// what it says is written; then whoever waits goes on.
//
//   a client's lookup -> pending -> [agent: HEAD] -> FinishPending -> the lookup again
//
// A name that several ask for is asked for once. An agent that goes is replaced by another. After
// kPatience without an answer it is kIo, with the reason. What a name's object says that is gone
// is that there is no such name.
//
// Thread-safe: Ask on any shard.
#pragma once

#include <coroutine>
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

  // `agents`: those that are up; any thread.
  Questions(Core* core, std::function<std::vector<v1::AgentEntry>()> agents)
      : core_(core), agents_(std::move(agents)) {}

  // Good: the operation is to look again. Errors: kNoEntry (an object is gone), kIo (S3 or the
  // agents did not say, and why), kUnavailable (the server stops).
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
  struct Order {
    uint32_t link = 0;
    Nanos until{0};
    bool listing = false;
    std::vector<Unasked::Name> names;
    std::vector<AskedPointer> asked;
  };

  static Order& OrderFor(uint32_t link, std::vector<Order>* orders);
  async::Task<Status> AskOne(Order order);
  async::Task<Status> AskAgents(Order* order, std::vector<Status>* results);
  async::Task<Result<v1::AskObjectsReply>> CallSome(const Order* order);
  async::Task<Status> Finish(v1::Repository link, Unasked::Name name, v1::ObjectAnswer answer);
  // Nobody can say any more what S3 has: only root may look.
  async::Task<Status> FinishWithoutLink(Order* order, std::vector<Status>* results);
  async::Task<Result<v1::Repository>> LinkOf(uint32_t id);
  bool IsUp(const std::string& agent) const;

  Core* const core_;
  const std::function<std::vector<v1::AgentEntry>()> agents_;
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<Fid, AskedPointer> asking_;
  size_t next_agent_ = 0;
  bool stopping_ = false;
};

}  // namespace sheen::mds
