#include "apps/common/configured_address.h"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include "apps/common/words.h"

namespace sheen::apps {

Result<rpc::Address> ConfiguredControl(const std::string& path, uint16_t default_port) {
  rpc::Address out{"127.0.0.1", default_port};
  if (::access(path.c_str(), F_OK) != 0) return out;
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    return Fail(Errc::kInvalid,
                fmt::format("{}: {}; correct it, or name the server with --server "
                            "HOST:CONTROLPORT",
                            path, error.description()));
  }
  const auto listen = table["listen"].value<std::string>();
  if (listen && !IsWildcard(*listen)) out.host = *listen;
  const auto port = table["control-port"].value<int64_t>();
  if (port && *port > 0 && *port <= UINT16_MAX) out.port = static_cast<uint16_t>(*port);
  return out;
}

}  // namespace sheen::apps
