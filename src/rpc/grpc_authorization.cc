#include "rpc/grpc_authorization.h"

#include <google/protobuf/descriptor.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

namespace sheen::rpc {

// Every method of proto/sheen/v1/control.proto. One that is missing keeps its daemon from starting.
const AuthorizationTable& DefaultAuthorizationTable() {
  static const AuthorizationTable table = {
      {"sheen.v1.Management/RegisterServer", CallerClass::kServer},
      {"sheen.v1.Management/Heartbeat", CallerClass::kServer},
      {"sheen.v1.Management/GetClusterMap", CallerClass::kServer},
      {"sheen.v1.ObjectControl/DestroyObjects", CallerClass::kServer},
      {"sheen.v1.ObjectControl/SetObjectOwner", CallerClass::kServer},
      {"sheen.v1.ObjectControl/FenceSession", CallerClass::kServer},
      {"sheen.v1.ObjectControl/RestoreObject", CallerClass::kServer},
      {"sheen.v1.Repositories/AddRepository", CallerClass::kAdmin},
      {"sheen.v1.Repositories/UpdateRepository", CallerClass::kAdmin},
      {"sheen.v1.Repositories/RemoveRepository", CallerClass::kAdmin},
      {"sheen.v1.Repositories/ListRepositories", CallerClass::kServer},
      {"sheen.v1.Repositories/ImportEntries", CallerClass::kServer},
      {"sheen.v1.Repositories/ListImported", CallerClass::kServer},
      {"sheen.v1.Repositories/DropDeleted", CallerClass::kServer},
      {"sheen.v1.Repositories/ListPending", CallerClass::kServer},
      {"sheen.v1.Repositories/FinishPending", CallerClass::kServer},
      {"sheen.v1.Repositories/AgentHeartbeat", CallerClass::kServer},
      {"sheen.v1.AgentControl/CheckRepository", CallerClass::kServer},
      {"sheen.v1.AgentControl/StartImport", CallerClass::kServer},
      {"sheen.v1.AgentControl/GetImport", CallerClass::kServer},
      {"sheen.v1.AgentControl/CancelImport", CallerClass::kServer},
      {"sheen.v1.AgentControl/AskObjects", CallerClass::kServer},
      {"sheen.v1.Admin/GetStatus", CallerClass::kAdmin},
      {"sheen.v1.Admin/GetParams", CallerClass::kAdmin},
      {"sheen.v1.Admin/SetParam", CallerClass::kAdmin},
  };
  return table;
}

Status GrpcAuthorization::CheckService(const std::string& service) const {
  const auto* const descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
  if (descriptor == nullptr) {
    return Fail(Errc::kInvalid, "the control service " + service + " is not known to protobuf");
  }
  for (int i = 0; i < descriptor->method_count(); ++i) {
    const std::string method = service + "/" + descriptor->method(i)->name();
    if (!table_.contains(method)) {
      return Fail(Errc::kInvalid, "the control method " + method +
                                      " has no entry in the authorization table "
                                      "(rpc/grpc_authorization.cc): who may call it?");
    }
  }
  return {};
}

Status GrpcAuthorization::Check(std::string_view method, const std::string& peer) const {
  const auto row = table_.find(method);
  if (row == table_.end()) {
    return Fail(Errc::kPerm, std::string(method) + " may be called by nobody");
  }
  if (peer.starts_with("unix:")) return {};  // a socket of this host
  const std::string host = HostOfGrpcPeer(peer);
  if (IsLoopback(host)) return {};
  if (row->second == CallerClass::kAdmin && IsOwnAddress(host)) return {};
  if (row->second == CallerClass::kAdmin) {
    return Fail(Errc::kPerm, std::string(method) + " is for administrators on the daemon's own " +
                                 "host, not for " + peer + ": run the command there");
  }
  if (MayConnect(allow_, host)) return {};
  return Fail(Errc::kPerm, std::string(method) + " is refused to " + peer +
                               ": its address is not in --allow of this daemon");
}

bool IsOwnAddress(const std::string& host) {
  ifaddrs* all = nullptr;
  if (host.empty() || ::getifaddrs(&all) != 0) return false;
  bool found = false;
  for (const ifaddrs* one = all; one != nullptr && !found; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    const int family = one->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(one->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) {
      continue;
    }
    found = host == text;
  }
  ::freeifaddrs(all);
  return found;
}

// gRPC gives addresses as URIs, with the brackets of IPv6 percent-encoded.
std::string HostOfGrpcPeer(std::string_view peer) {
  const bool is_ipv4 = peer.starts_with("ipv4:");
  if (!is_ipv4 && !peer.starts_with("ipv6:")) return {};
  peer.remove_prefix(5);
  if (is_ipv4) return HostOfPeer(peer);
  constexpr std::string_view kOpen = "%5B";
  constexpr std::string_view kClose = "%5D";
  std::string text(peer);
  if (text.starts_with(kOpen)) text.replace(0, kOpen.size(), "[");
  if (const size_t at = text.find(kClose); at != std::string::npos) {
    text.replace(at, kClose.size(), "]");
  }
  return HostOfPeer(text);
}

}  // namespace sheen::rpc
