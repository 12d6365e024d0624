// Registrar: keeps an OSS known to the MGS. A thread of its own registers, sends a heartbeat with
// the targets' space every second, and registers again when the MGS does not know the server (any
// more). While the MGS is away it tries again, waiting 0.2 s to 5 s in between. Who wants to know
// what the MGS answers now (Hurry) does not wait for the second.
//
// Start() and Stop() belong to the main thread; WaitForName() may be called on any.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "rpc/grpc_control.h"
#include "sheen/v1/control.pb.h"

namespace sheen::apps {

struct RegistrarOptions {
  std::vector<rpc::Address> mgs;      // control addresses, tried in turn
  v1::RegisterServerRequest request;  // server().name() may be empty: the MGS gives one
  // Blocks; called on the registrar's thread.
  std::function<std::vector<v1::TargetSpace>()> spaces;
  // The MGS gave or confirmed the name; called on the registrar's thread, after each registration.
  std::function<void(const std::string& name)> on_registered;
  // The cluster map has changed; on the registrar's thread.
  std::function<void(const v1::ClusterMap& map)> on_map;
  // The MGS has answered a heartbeat, and said which agents there are; on the registrar's thread.
  // May be empty.
  std::function<void(const v1::HeartbeatReply& reply)> on_heartbeat;
  Nanos heartbeat_interval = std::chrono::seconds(1);
  Nanos call_timeout = std::chrono::seconds(5);
};

class Registrar final {
 public:
  explicit Registrar(RegistrarOptions options);
  ~Registrar();

  void Start();
  // Says goodbye, so that the targets are down at once; an MGS that does not answer within three
  // seconds is left alone.
  void Stop();
  // The next heartbeat goes at once (50 ms after the last at the soonest), while the MGS answers:
  // what it says is wanted now. Any thread; does not block.
  void Hurry();
  // Blocks until the MGS knows the server and that its targets are up, and gives the name; the
  // error that is in the way after `patience`, and registration goes on.
  Result<std::string> WaitForName(Nanos patience);
  // Since when the MGS does not answer, or refuses; nothing while it serves. Any thread.
  std::optional<Nanos> TroubleSince();

 private:
  void ThreadMain();
  bool Register();
  bool Heartbeat();
  v1::HeartbeatRequest Beat() const;
  void LookAtMap(uint64_t version);
  void SayGoodbye(Nanos patience);
  // False: it is time to stop.
  bool Sleep(Nanos duration);
  bool SleepUntilNextBeat();
  void NoteTrouble(const Error& error, std::string_view what);
  void NoteAnswer();

  RegistrarOptions options_;
  rpc::MgsClient client_;
  std::thread thread_;
  std::mutex mutex_;  // guards stopping_, ended_, hurried_, name_, trouble_, trouble_since_
  std::condition_variable changed_;
  bool stopping_ = false;
  bool ended_ = false;  // the thread's work is
  bool hurried_ = false;
  std::string name_;
  Error trouble_;
  std::optional<Nanos> trouble_since_;
  uint64_t map_version_ = 0;  // the registrar's thread only, as the next
  bool in_trouble_ = false;   // the registrar's thread only
};

}  // namespace sheen::apps
