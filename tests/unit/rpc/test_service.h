// A service for tests: it writes down what it executes and keeps reply slots as an MDS does, on a
// "disk" that outlives it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "async/sync.h"
#include "rpc/server.h"

namespace sheen::rpc::test {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Executes a request by appending its body to `executed`. Mutating requests go through reply slots:
// one that is in its slot already gets the kept answer. `disk` outlives a restart.
class TestService final : public Service, public SessionStore {
 public:
  struct Kept {
    uint64_t xid = 0;
    Response response;
  };
  struct Disk {
    // By session, target and slot.
    std::map<std::tuple<uint64_t, uint32_t, uint32_t>, std::pair<uint64_t, std::string>> slots;
    std::vector<std::string> executed;
    std::map<uint64_t, std::pair<Uuid, std::array<uint8_t, 16>>> sessions;
    uint64_t transno = 0;
    bool evict_all = false;  // no session is served
  };

  TestService(async::Shard* shard, Disk* disk) : shard_(shard), disk_(disk) {}

  async::Task<Response> Handle(Request request) override {
    const uint64_t xid = request.header.xid;
    EXPECT_TRUE(running.insert(xid).second) << "xid " << xid << " runs twice at the same time";
    max_running = std::max(max_running, running.size());
    last_oldest_xid = request.header.transno;
    seen_flags.push_back(request.header.flags);
    if (work > Nanos(0)) co_await shard_->Sleep(work);
    const bool waits = !hold_target || *hold_target == request.header.target;
    if (hold != nullptr && waits) co_await hold->Acquire(1);
    Response response = Run(request);
    running.erase(xid);
    co_return response;
  }

  uint64_t LastCommitted(uint32_t) const override { return disk_->transno; }
  Status CheckCommitted(uint32_t target, uint64_t transno) override {
    if (transno <= disk_->transno) return {};
    return Fail(Errc::kCorrupt, "target " + std::to_string(target) + " went back in time");
  }
  void OnSessionIdle(std::shared_ptr<Session> session) override { idle.push_back(session->id()); }

  async::Task<Status> Save(uint64_t id, Uuid client, std::array<uint8_t, 16> secret) override {
    co_await shard_->Sleep(microseconds(100));
    if (save_fails) co_return Fail(Errc::kNoSpace, "the store is full");
    disk_->sessions[id] = {client, secret};
    co_return Status{};
  }
  async::Task<Status> Remove(uint64_t id) override {
    disk_->sessions.erase(id);
    co_return Status{};
  }

  Nanos work{0};                     // how long each request takes
  async::Semaphore* hold = nullptr;  // and what it then waits for
  std::optional<uint32_t> hold_target;  // only those to this one do
  uint32_t unavailable_left = 0;     // so many requests are answered kUnavailable
  bool save_fails = false;
  std::set<uint64_t> running;
  size_t max_running = 0;
  uint64_t last_oldest_xid = 0;
  std::vector<uint16_t> seen_flags;
  std::vector<uint64_t> idle;

 private:
  Response Run(const Request& request) {
    if (unavailable_left > 0) {
      --unavailable_left;
      return {Errc::kUnavailable, "starting", {}, 0};
    }
    if (disk_->evict_all) return {Errc::kEvicted, "not known", {}, 0};
    if (request.body == "fail") return {Errc::kNotEmpty, "the directory is not empty", {}, 0};
    Response response;
    response.body = "done " + request.body;
    if (request.header.opcode == Opcode::kOstRead) {
      response.bulk = io::Buffer::Allocate(request.header.target);
      std::fill(response.bulk.span().begin(), response.bulk.span().end(), std::byte{0x5A});
    }
    if (!IsMutating(request.header.opcode)) return response;
    EXPECT_NE(request.header.slot, 0U);
    auto& slot = disk_->slots[{request.session->id(), request.header.target, request.header.slot}];
    if (slot.first == request.header.xid) return {Errc::kOk, slot.second, {}, 0};
    EXPECT_LT(slot.first, request.header.xid) << "a slot went back to an older request";
    disk_->executed.push_back(request.body);
    slot = {request.header.xid, response.body};
    response.transno = ++disk_->transno;
    return response;
  }

  async::Shard* const shard_;
  Disk* const disk_;
};

}  // namespace sheen::rpc::test
