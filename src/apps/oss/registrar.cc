#include "apps/oss/registrar.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace sheen::apps {
namespace {

constexpr Nanos kRetryWaitMin = std::chrono::milliseconds(200);
constexpr Nanos kRetryWaitMax = std::chrono::seconds(5);
// How long a stop waits for the MGS: for its answer to what is asked already, and to the goodbye.
constexpr Nanos kStopWait = std::chrono::seconds(3);
constexpr Nanos kGoodbyeWaitMin = std::chrono::seconds(1);
constexpr Nanos kHurriedGap = std::chrono::milliseconds(50);

}  // namespace

Registrar::Registrar(RegistrarOptions options)
    : options_(std::move(options)), client_(options_.mgs, options_.call_timeout) {}

Registrar::~Registrar() { Stop(); }

void Registrar::Start() { thread_ = std::thread(&Registrar::ThreadMain, this); }

void Registrar::Stop() {
  const auto deadline = std::chrono::steady_clock::now() + kStopWait;
  bool answered = true;
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    if (!thread_.joinable()) return;
    // A heartbeat that the MGS has yet to answer would undo a goodbye that overtakes it.
    answered = changed_.wait_until(lock, deadline, [this] { return ended_; });
  }
  client_.BeginStop();
  thread_.join();
  // To an MGS that does not answer there is nothing to say.
  if (name_.empty() || in_trouble_ || !answered) return;
  SayGoodbye(std::max<Nanos>(deadline - std::chrono::steady_clock::now(), kGoodbyeWaitMin));
}

void Registrar::SayGoodbye(Nanos patience) {
  v1::HeartbeatRequest request = Beat();
  request.set_leaving(true);
  const auto reply = rpc::MgsClient(options_.mgs, patience).Heartbeat(request);
  if (!reply) SHEEN_LOG(Info, "no goodbye to the management server: {}", reply.error().ToString());
}

Result<std::string> Registrar::WaitForName(Nanos patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [this] { return stopping_ || !name_.empty(); });
  if (!name_.empty()) return name_;
  if (trouble_.code() == Errc::kOk) {
    return Fail(Errc::kTimedOut, "no answer from the management server yet");
  }
  return std::unexpected(trouble_);
}

void Registrar::ThreadMain() {
  Nanos wait = kRetryWaitMin;
  bool registered = false;
  while (true) {
    registered = registered || Register();
    // The first heartbeat follows at once: with it the targets count as up.
    if (registered) registered = Heartbeat();
    wait = registered ? kRetryWaitMin : std::min(wait * 2, kRetryWaitMax);
    if (!(registered ? SleepUntilNextBeat() : Sleep(wait))) break;
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

std::optional<Nanos> Registrar::TroubleSince() {
  const std::lock_guard lock(mutex_);
  return trouble_since_;
}

bool Registrar::Register() {
  const Result<v1::RegisterServerReply> reply = client_.RegisterServer(options_.request);
  if (!reply) {
    NoteTrouble(reply.error(), "cannot register with the management server");
    return false;
  }
  NoteAnswer();
  options_.request.mutable_server()->set_name(reply->server_name());
  SHEEN_LOG(Info, "registered as {}, cluster map version {}", reply->server_name(),
            reply->map_version());
  options_.on_registered(reply->server_name());
  return true;
}

v1::HeartbeatRequest Registrar::Beat() const {
  v1::HeartbeatRequest request;
  request.set_fsname(options_.request.fsname());
  request.set_server_name(options_.request.server().name());
  for (v1::TargetSpace& space : options_.spaces()) *request.add_targets() = std::move(space);
  return request;
}

// False: the server must register again.
bool Registrar::Heartbeat() {
  const v1::HeartbeatRequest request = Beat();
  const Result<v1::HeartbeatReply> reply = client_.Heartbeat(request);
  if (!reply) {
    NoteTrouble(reply.error(), "no heartbeat to the management server");
    return true;  // it keeps the registration; when it does not, its next answer says so
  }
  if (in_trouble_) SHEEN_LOG(Info, "the management server answers again");
  NoteAnswer();
  if (options_.on_heartbeat) options_.on_heartbeat(*reply);
  if (!reply->known()) {
    SHEEN_LOG(Info, "the management server does not know this server; registering again");
    return false;
  }
  {
    const std::lock_guard lock(mutex_);
    name_ = request.server_name();
  }
  changed_.notify_all();
  LookAtMap(reply->map_version());
  return true;
}

void Registrar::LookAtMap(uint64_t version) {
  if (version == map_version_ || !options_.on_map) return;
  const Result<v1::ClusterMap> map = client_.GetClusterMap(map_version_);
  if (!map) return;  // the next heartbeat tries again
  map_version_ = version;
  options_.on_map(*map);
}

bool Registrar::Sleep(Nanos duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return stopping_; });
  return !stopping_;
}

bool Registrar::SleepUntilNextBeat() {
  const auto next = std::chrono::steady_clock::now() + options_.heartbeat_interval;
  if (!Sleep(std::min(kHurriedGap, options_.heartbeat_interval))) return false;
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, next, [this] { return stopping_ || (hurried_ && !in_trouble_); });
  hurried_ = false;
  return !stopping_;
}

void Registrar::Hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurried_ = true;
  }
  changed_.notify_all();
}

void Registrar::NoteTrouble(const Error& error, std::string_view what) {
  // Cancelled by Stop, not refused.
  if (error.code() == Errc::kCancelled) return;
  // Once an outage, not once a second.
  if (!std::exchange(in_trouble_, true)) {
    SHEEN_LOG(Warn, "{}: {}; trying again until it answers", what, error.ToString());
  }
  const std::lock_guard lock(mutex_);
  trouble_ = error;
  if (!trouble_since_) trouble_since_ = SystemClock().Monotonic();
}

void Registrar::NoteAnswer() {
  in_trouble_ = false;
  const std::lock_guard lock(mutex_);
  trouble_since_.reset();
}

}  // namespace sheen::apps
