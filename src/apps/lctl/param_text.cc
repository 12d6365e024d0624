#include "apps/lctl/param_text.h"

#include <fmt/format.h>

#include <sstream>

namespace sheen::lctl {
namespace {

std::string Indented(const std::string& lines) {
  std::string out;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) out += "    " + line + "\n";
  return out;
}

}  // namespace

std::string FormatParam(const v1::ParamValue& param, const ParamStyle& style) {
  const std::string& value = param.value();
  const bool lines = value.find('\n') != std::string::npos;
  if (style.names_only) {
    return param.name() + (style.classify && param.settable() ? "=\n" : "\n");
  }
  std::string ended = value;
  if (!ended.ends_with('\n')) ended += '\n';
  if (style.values_only) return ended;
  if (style.yaml)
    return lines ? param.name() + ": |\n" + Indented(value) : param.name() + ": " + ended;
  return param.name() + (lines ? "=\n" : "=") + ended;
}

std::vector<Device> ParseDevices(const std::string& text) {
  std::vector<Device> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Device device;
    if (!(words >> device.status >> device.type >> device.name >> device.uuid >>
          device.references)) {
      continue;
    }
    words >> device.nid;
    out.push_back(std::move(device));
  }
  return out;
}

std::string FormatDevices(const std::vector<Device>& devices, bool with_nids) {
  std::string out;
  for (size_t i = 0; i < devices.size(); ++i) {
    const Device& device = devices[i];
    out += fmt::format("{:3} {} {} {} {} {}{}{}\n", i, device.status, device.type, device.name,
                       device.uuid, device.references,
                       with_nids && !device.nid.empty() ? " " : "", with_nids ? device.nid : "");
  }
  return out;
}

}  // namespace sheen::lctl
