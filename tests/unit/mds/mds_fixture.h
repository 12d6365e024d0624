// One MDS over a MemoryStore on a virtual clock, and clients that call it without a network. Each
// test ends with a check of the whole store: no name without inode, no inode without name.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/sim_poller.h"
#include "kv/memory_store.h"
#include "layout/layout.h"
#include "mds/op_context.h"
#include "mds/service.h"

namespace sheen::mds {

// Takes orders from the outbox; can be made unreachable.
class FakeObjects final : public rpc::ObjectControl {
 public:
  async::Task<Status> DestroyObjects(std::string server,
                                     v1::DestroyObjectsRequest request) override {
    if (down) co_return Fail(Errc::kUnavailable, server + " is down");
    for (const auto& object : request.objects()) {
      destroyed.push_back(std::to_string(request.target()) + "/" + FidOf(object.fid()).ToString() +
                          "." + std::to_string(object.stripe()));
    }
    co_return Status();
  }
  async::Task<Status> SetObjectOwner(std::string server,
                                     v1::SetObjectOwnerRequest request) override {
    if (down) co_return Fail(Errc::kUnavailable, server + " is down");
    owners.push_back(request);
    co_return Status();
  }
  async::Task<Status> FenceSession(std::string server, v1::FenceSessionRequest request) override {
    if (down || unfenceable.contains(server)) {
      co_return Fail(Errc::kUnavailable, server + " is down");
    }
    fences.push_back({std::move(server), request.client_uuid(), destroyed.size()});
    co_return Status();
  }
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      std::string server, v1::RestoreObjectRequest request) override {
    if (down) co_return Fail(Errc::kUnavailable, server + " is down");
    if (!restore_error.empty()) co_return Fail(Errc::kIo, restore_error);
    if (!unavailable.empty() && request.object().source().key() == unavailable) {
      co_return Fail(Errc::kUnavailable, "S3 does not answer");
    }
    co_await async::Shard::Current()->Sleep(restore_takes);
    restored.push_back(std::to_string(request.target()) + "/" +
                       FidOf(request.object().fid()).ToString() + "." +
                       std::to_string(request.object().stripe()));
    v1::RestoreObjectReply reply;
    reply.set_bytes(100);
    reply.set_complete(restored.size() % restore_parts == 0);
    co_return reply;
  }
  std::vector<std::string> restored;
  std::string restore_error;
  std::string unavailable;  // key that cannot be had now
  Nanos restore_takes{0};
  size_t restore_parts = 1;  // answers until an object is complete

  struct Fence {
    std::string server;
    std::string client;
    size_t destroyed_before = 0;  // size of `destroyed`
  };

  bool down = false;
  std::set<std::string> unfenceable;  // servers that do not answer FenceSession
  std::vector<Fence> fences;
  std::vector<std::string> destroyed;
  std::vector<v1::SetObjectOwnerRequest> owners;
};

struct CallOptions {
  uint32_t credential = 0;
  uint16_t flags = 0;
  uint64_t xid = 0;  // 0: the next
  uint32_t slot = 1;
};

// What came back: the error or the reply.
template <class Reply>
struct Answered {
  Errc status = Errc::kOk;
  std::string message;
  Reply reply;
  uint64_t transno = 0;
  uint64_t xid = 0;
  bool ok() const { return status == Errc::kOk; }
};

class MdsFixture : public ::testing::Test {
 protected:
  static constexpr uint32_t kUserCredential = 7;   // uid 1000, gid 1000, groups 50
  static constexpr uint32_t kOtherCredential = 8;  // uid 2000, gid 2000

  void SetUp() override;
  void TearDown() override;

  // Opens the service on what the disk holds.
  void Start();
  // As a killed process: the service goes, unsynced batches stay unless the disk is cut.
  void Kill();
  void PowerCutAndStart(size_t keep_batches = 0);
  void RegisterOsts();
  void Beat();
  // A client that connects now. Its first sequence is granted.
  std::shared_ptr<rpc::Session> Connect();
  // The same clients after a restart.
  void Reconnect();

  template <class T>
  T Run(async::Task<T> task) {
    std::optional<T> out;
    shard_.Post([&] { shard_.Spawn(Keep(std::move(task), &out)); });
    EXPECT_TRUE(async::RunUntil(
        &shard_, [&] { return out.has_value(); }, std::chrono::hours(1)));
    return std::move(*out);
  }
  void RunFor(Nanos duration) {
    // Heartbeats go on, as they do.
    for (Nanos done{0}; done < duration; done += std::chrono::seconds(1)) {
      Beat();
      async::RunFor(&shard_, std::min<Nanos>(duration - done, std::chrono::seconds(1)));
    }
  }

  template <class Reply, class Request>
  Answered<Reply> Call(rpc::Opcode opcode, const Request& request, CallOptions options = {}) {
    return CallAs<Reply>(session_, opcode, request, options);
  }
  template <class Reply, class Request>
  Answered<Reply> CallAs(const std::shared_ptr<rpc::Session>& session, rpc::Opcode opcode,
                         const Request& request, CallOptions options = {}) {
    rpc::Request frame;
    frame.header.opcode = opcode;
    frame.header.xid = options.xid != 0 ? options.xid : next_xid_++;
    frame.header.slot = options.slot;
    frame.header.credential = options.credential;
    frame.header.flags = options.flags;
    frame.body = request.SerializeAsString();
    frame.session = session;
    Answered<Reply> out;
    out.xid = frame.header.xid;
    rpc::Response response = Run(service_->Handle(std::move(frame)));
    out.status = response.status;
    out.transno = response.transno;
    if (out.ok()) {
      EXPECT_TRUE(out.reply.ParseFromString(response.body));
    } else {
      out.message = response.body;
    }
    return out;
  }

  // Requests and calls by what they are about.
  Fid NewFid() { return {sequence_, ++last_oid_, 0}; }
  v1::CreateRequest CreateOf(const Fid& parent, const std::string& name,
                             uint32_t flags = O_RDWR | O_CREAT);
  Fid Create(const Fid& parent, const std::string& name);  // and closes it
  Fid MakeDir(const Fid& parent, const std::string& name, uint32_t mode = 0755);
  Errc Unlink(const Fid& parent, const std::string& name, CallOptions options = {});
  Errc RemoveDir(const Fid& parent, const std::string& name, CallOptions options = {});
  Errc Rename(const Fid& from, const std::string& name, const Fid& to, const std::string& new_name,
              uint32_t flags = 0, CallOptions options = {});
  Errc LinkTo(const Fid& fid, const Fid& parent, const std::string& name);
  Answered<v1::LookupReply> Lookup(const Fid& parent, const std::string& name,
                                   CallOptions options = {});
  // Empty: no such name.
  Fid Find(const Fid& parent, const std::string& name);
  v1::Attr Attr(const Fid& fid);
  Answered<v1::OpenReply> Open(const Fid& fid, uint64_t handle, uint32_t flags,
                               CallOptions options = {});
  Answered<v1::CloseReply> Close(const Fid& fid, uint64_t handle);
  Answered<v1::SetAttrReply> Chmod(const Fid& fid, uint32_t mode, CallOptions options = {});
  Answered<v1::SetAttrReply> Chown(const Fid& fid, uint32_t uid, uint32_t gid,
                                   CallOptions options = {});
  std::vector<std::string> Names(const Fid& directory, uint32_t entries_max = 0);
  // All families, as text: to compare two stores.
  std::string Dump();
  void CheckStore();

  ManualClock clock_;
  async::SimPoller poller_{&clock_};
  async::Shard shard_{&poller_, &clock_};
  async::BlockingPool pool_{0};
  kv::MemoryDisk disk_{mdt::kFamilyCount};
  std::unique_ptr<kv::Store> store_;
  FakeObjects objects_;
  rpc::AgentCalls* agents_ = nullptr;  // of the services that are started from now on
  std::unique_ptr<MdsService> service_;
  std::vector<std::shared_ptr<rpc::Session>> sessions_;
  std::shared_ptr<rpc::Session> session_;  // the usual one
  std::vector<uint64_t> map_versions_;
  std::vector<uint64_t> evicted_sessions_;  // as the session table heard of them
  v1::TargetSpace own_space_;  // what the MDT's disk says; no size: endless
  uint64_t next_session_ = 1;
  uint64_t next_xid_ = 1;
  uint64_t next_handle_ = 1000;
  uint64_t sequence_ = 0;
  uint32_t last_oid_ = 0;
  bool background_ = true;

 private:
  template <class T>
  static async::Task<void> Keep(async::Task<T> task, std::optional<T>* out) {
    T value = co_await std::move(task);
    out->emplace(std::move(value));
  }
  void SetCredentials(rpc::Session* session);
};

}  // namespace sheen::mds
