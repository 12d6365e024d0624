// Who may call which control-plane method. The table is in grpc_authorization.cc, one row a method;
// GrpcServer refuses to start with a registered method that has no row.
//
// Thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/address.h"
#include "sheen/result.h"

namespace sheen::rpc {

enum class CallerClass : uint8_t {
  kClient,  // any peer that may connect
  kServer,  // servers of this filesystem: loopback or a peer of the allow list
  kAdmin,   // an administrator on this host: loopback, an address of its own, or a UNIX socket
};

// Full method name ("sheen.v1.Admin/GetStatus") to class.
using AuthorizationTable = std::map<std::string, CallerClass, std::less<>>;
// The table of the project's own services.
const AuthorizationTable& DefaultAuthorizationTable();

class GrpcAuthorization final {
 public:
  GrpcAuthorization(AuthorizationTable table, CidrList allow)
      : table_(std::move(table)), allow_(std::move(allow)) {}
  // Has each method of `service` (full name, as protobuf's descriptors know it) a row?
  // Errors: kInvalid; the message names the first method without one.
  Status CheckService(const std::string& service) const;
  // `peer` as gRPC gives it: "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711", "unix:/run/x".
  // Errors: kPerm; the message says what was refused to whom and what to do.
  Status Check(std::string_view method, const std::string& peer) const;
  bool Admits(const std::string& host) const { return MayConnect(allow_, host); }

 private:
  const AuthorizationTable table_;
  const CidrList allow_;
};

// Whether an interface of this host has the address: a connection from it comes from here.
bool IsOwnAddress(const std::string& host);
// The host in gRPC's peer text, "" for a UNIX socket's or one that cannot be read.
std::string HostOfGrpcPeer(std::string_view peer);

}  // namespace sheen::rpc
