// The control plane's calling side: MDS to OSS (GrpcObjectControl), any server to the MGS
// (MgsClient), people to a daemon (AdminClient). Every call has a deadline; every error names the
// address that was called and what to look at. No gRPC header is needed to include this one.
//
// All are thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpc/control.h"
#include "rpc/link.h"

namespace sheen::rpc {

// Channels are made at the first call to an address and kept.
class GrpcObjectControl final : public ObjectControl {
 public:
  // The control address of a server of the cluster map; nullopt: not known (now). Thread-safe.
  using Resolver = std::function<std::optional<Address>(const std::string& server)>;

  explicit GrpcObjectControl(Resolver resolve, Nanos call_timeout = std::chrono::seconds(30));
  // Cancels what is in flight and waits for gRPC to let go of it. Coroutines that await a call must
  // have been resumed (their shards run on until then), as after any drain.
  ~GrpcObjectControl() override;
  // What is in flight ends at once, and later calls do (kCancelled). Does not wait. Thread-safe.
  void BeginStop();

  // Errors: kUnavailable (unknown, not reachable, or no answer in time), the server's own.
  async::Task<Status> DestroyObjects(std::string server,
                                     v1::DestroyObjectsRequest request) override;
  async::Task<Status> SetObjectOwner(std::string server,
                                     v1::SetObjectOwnerRequest request) override;
  async::Task<Status> FenceSession(std::string server, v1::FenceSessionRequest request) override;
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      std::string server, v1::RestoreObjectRequest request) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Calls block: from an own thread or a BlockingPool, never on a shard.
class MgsClient final {
 public:
  // `addresses`: control addresses of the MGS, tried in turn, the last that answered first.
  explicit MgsClient(std::vector<Address> addresses, Nanos call_timeout = std::chrono::seconds(5));
  ~MgsClient();
  // Errors: kUnavailable (none reachable), kTimedOut, the server's own.
  Result<v1::RegisterServerReply> RegisterServer(const v1::RegisterServerRequest& request);
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request);
  Result<v1::ClusterMap> GetClusterMap(uint64_t version_seen);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Calls block.
class AdminClient final {
 public:
  explicit AdminClient(Address address, Nanos call_timeout = std::chrono::seconds(5));
  ~AdminClient();
  // Errors: kUnavailable (no daemon there), kTimedOut, kPerm (not from loopback).
  Result<v1::GetStatusReply> GetStatus();
  Result<v1::GetParamsReply> GetParams(const v1::GetParamsRequest& request);
  // Errors: kNoEntry, kAccess, kInvalid; the message names the parameter.
  Result<v1::SetParamReply> SetParam(const v1::SetParamRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sheen::rpc
