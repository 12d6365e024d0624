// How lctl prints parameters and devices: Lustre's forms. Pure; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "sheen/v1/control.pb.h"

namespace sheen::lctl {

struct ParamStyle {
  bool names_only = false;
  bool values_only = false;
  bool classify = false;  // "=" after names that can be set
  bool yaml = false;
};

// "name=value\n"; of several lines "name=\nline\nline\n".
std::string FormatParam(const v1::ParamValue& param, const ParamStyle& style);

// One of Lustre's device lists.
struct Device {
  std::string status;  // UP, IN, ST
  std::string type;
  std::string name;
  std::string uuid;
  std::string references;
};
// Of lines "STATUS TYPE NAME UUID REFS"; others are left out.
std::vector<Device> ParseDevices(const std::string& text);
std::string FormatDevices(const std::vector<Device>& devices);

}  // namespace sheen::lctl
