// The names under which lctl and Prometheus find what a mount counts and keeps.
//
// Thread-safe.
#pragma once

#include <string>

#include "apps/common/node_control.h"
#include "client/filesystem.h"
#include "fuse/session.h"

namespace sheen::apps {

struct ClientParamsOwner {
  client::Filesystem* filesystem = nullptr;
  fuse::Session* session = nullptr;
  std::string mountpoint;
  std::string mgs;  // HOST of the mount
};

// All of `owner` must outlive the control's Stop().
void AddClientParams(const ClientParamsOwner& owner, NodeControl* control);
// What names this mount among those of a host: "sheen-ffff1a2b3c4d5e6f".
std::string InstanceOf(const client::Filesystem& filesystem);

}  // namespace sheen::apps
