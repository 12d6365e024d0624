// dl, list_nids, ping.
#include <fmt/core.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/lctl/command.h"
#include "apps/lctl/daemons.h"
#include "apps/lctl/param_text.h"
#include "rpc/address.h"
#include "rpc/frame.h"
#include "rpc/socket_address.h"
#include "sheen/v1/common.pb.h"

namespace sheen::lctl {
namespace {

constexpr int kJson = 256;
constexpr uint16_t kDataPorts[] = {7988, 7990};  // of an MDS, of an OSS
constexpr int kPingSeconds = 10;
constexpr int kPingSecondsMax = 3600;

// A daemon answers a handshake, here one that cannot succeed, with a frame. So it lives, and is
// one.
Status Greet(const rpc::SocketAddress& address, int seconds) {
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return FailErrno(errno, "socket");
  const timeval limit{.tv_sec = seconds, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  v1::Hello hello;
  hello.set_version_oldest(rpc::kProtocolVersionOldest);
  hello.set_version_newest(rpc::kProtocolVersion);
  hello.set_client_name("lctl ping");
  const std::string body = hello.SerializeAsString();
  rpc::FrameHeader header;
  header.opcode = rpc::Opcode::kHello;
  header.xid = 1;
  header.body_bytes = static_cast<uint32_t>(body.size());
  const rpc::HeaderBytes bytes = rpc::EncodeHeader(header);
  std::string frame(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  frame += body;
  rpc::HeaderBytes answer{};
  Status status;
  if (::connect(fd, address.get(), address.size) != 0) {
    status = FailErrno(errno, "connect to " + address.ToString());
  } else if (::send(fd, frame.data(), frame.size(), MSG_NOSIGNAL) != std::ssize(frame) ||
             ::recv(fd, answer.data(), answer.size(), MSG_WAITALL) != std::ssize(answer) ||
             !rpc::DecodeHeader(answer)) {
    status = Fail(Errc::kIo, address.ToString() + " does not answer as a Sheen daemon");
  }
  ::close(fd);
  return status;
}

// "10.0.0.1", "10.0.0.1@tcp", "10.0.0.1:7990@tcp".
Result<std::vector<rpc::SocketAddress>> AddressesOf(std::string nid) {
  const size_t at = nid.find('@');
  if (at != std::string::npos && !nid.substr(at).starts_with("@tcp")) {
    return Fail(Errc::kInvalid, "network " + nid.substr(at) + " is not known; only @tcp is");
  }
  nid = nid.substr(0, at);
  SHEEN_TRY_ASSIGN(const rpc::Address given, rpc::ParseAddress(nid, 0));
  std::vector<rpc::SocketAddress> out;
  for (const uint16_t port : kDataPorts) {
    if (given.port != 0 && port != kDataPorts[0]) break;
    const uint16_t wanted = given.port != 0 ? given.port : port;
    SHEEN_TRY_ASSIGN(const auto found, rpc::ResolveBlocking({given.host, wanted}));
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

std::vector<std::string> OwnNids() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(one->ifa_addr, sizeof(sockaddr_in), text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    if (!rpc::IsLoopback(text)) out.push_back(std::string(text) + "@tcp");
  }
  ::freeifaddrs(all);
  if (out.empty()) out.emplace_back("127.0.0.1@tcp");
  return out;
}

}  // namespace

int RunDeviceList(const Context& context, const Arguments& args) {
  static constexpr lfs::OptionSpec kSpecs[] = {{'t', "target"}, {kJson, "json"}};
  lfs::OptionReader reader(args, kSpecs);
  bool json = false;
  bool with_nids = false;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportUsage("device_list", option.error());
    if (!option->has_value()) break;
    json |= (*option)->letter == kJson;
    with_nids |= (*option)->letter == 't';
  }
  if (!reader.Rest().empty()) return ReportUsage("device_list", {"too many arguments"});
  const auto params = GetParams(context, {"devices"}, false);
  if (!params) return ReportError("dl", params.error());
  std::vector<Device> devices;
  for (const v1::ParamValue& param : *params) {
    std::ranges::move(ParseDevices(param.value()), std::back_inserter(devices));
  }
  if (!json) {
    fmt::print("{}", FormatDevices(devices, with_nids));
    return 0;
  }
  nlohmann::json out = nlohmann::json::array();
  for (const Device& device : devices) {
    out.push_back({{"status", device.status},
                   {"type", device.type},
                   {"name", device.name},
                   {"uuid", device.uuid}});
    if (with_nids && !device.nid.empty()) out.back()["nid"] = device.nid;
  }
  fmt::print("{}\n", out.dump(2));
  return 0;
}

int RunListNids(const Context&, const Arguments& args) {
  const bool json = args.size() == 2 && args[1] == "--json";
  if (args.size() > 1 && !json && args[1] != "all") {
    return ReportUsage("list_nids", {"unknown argument '" + args[1] + "'"});
  }
  const std::vector<std::string> nids = OwnNids();
  if (json) {
    fmt::print("{}\n", nlohmann::json(nids).dump());
    return 0;
  }
  for (const std::string& nid : nids) fmt::print("{}\n", nid);
  return 0;
}

int RunPing(const Context&, const Arguments& args) {
  if (args.size() < 2 || args.size() > 3) return ReportUsage("ping", {"one NID is needed"});
  int seconds = kPingSeconds;
  if (args.size() == 3) {
    seconds = std::atoi(args[2].c_str());
    if (seconds < 1 || seconds > kPingSecondsMax) {
      return ReportUsage("ping", {"invalid timeout '" + args[2] + "'"});
    }
  }
  const auto addresses = AddressesOf(args[1]);
  if (!addresses) return ReportError("ping", addresses.error());
  const std::string bare = args[1].substr(0, args[1].find('@'));
  Status last;
  for (const rpc::SocketAddress& address : *addresses) {
    last = Greet(address, seconds);
    if (!last) continue;
    fmt::print("12345-{}@tcp\n", bare);
    return 0;
  }
  fmt::print(stderr, "failed to ping {}@tcp: {} ({})\n", bare, std::strerror(EIO),
             last ? "" : last.error().message());
  return EIO;
}

}  // namespace sheen::lctl
