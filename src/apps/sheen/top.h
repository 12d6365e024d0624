// `sheen top`: what the daemons of this host do now, by target, client, user and job, from the
// numbers that their parameters show, once an interval.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::apps {

struct TopOptions {
  Nanos interval = std::chrono::seconds(1);
  uint64_t rounds = 0;  // 0: until it is ended
  bool json = false;    // a line of JSON each round
};

Status RunTop(const TopOptions& options);

// ---- pure parts ----
struct TopNumbers {
  uint64_t requests = 0;
  uint64_t read_bytes = 0;
  uint64_t written_bytes = 0;
  uint64_t busy_micros = 0;  // targets: summed over what was done at the same time

  TopNumbers operator-(const TopNumbers& before) const;
  TopNumbers& operator+=(const TopNumbers& other);
};

struct TopSample {
  std::map<std::string, TopNumbers> targets;  // by name
  std::map<std::string, TopNumbers> clients;  // by UUID
  std::map<std::string, TopNumbers> users;    // by number
  std::map<std::string, TopNumbers> jobs;     // by id
  std::map<std::string, std::string> names;   // of clients: host and mount point
};

// Of what daemons answered; a client of several servers is summed.
TopSample SampleOf(const std::vector<v1::GetParamsReply>& replies);
std::string FormatTop(const TopSample& before, const TopSample& now, double seconds);
std::string FormatTopJson(const TopSample& before, const TopSample& now, double seconds);

}  // namespace sheen::apps
