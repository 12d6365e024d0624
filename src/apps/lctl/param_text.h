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
  std::string nid;  // of a client's: whom it is connected to, as 10.0.0.1@tcp; else empty
};
// Of lines "STATUS TYPE NAME UUID REFS [NID]"; others are left out.
std::vector<Device> ParseDevices(const std::string& text);
// `with_nids`: as `dl -t`.
std::string FormatDevices(const std::vector<Device>& devices, bool with_nids = false);

}  // namespace sheen::lctl
