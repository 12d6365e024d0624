#include "rpc/fault_points.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "base/log.h"

namespace sheen::rpc {
namespace {

using enum FaultStep;
using enum FaultAction;

struct StepInfo {
  FaultStep step;
  std::string_view name;
  std::vector<FaultAction> actions;
};

// Which actions can be meant: a connection carries its frames in order and whole, so one is lost
// with its connection; what has been executed cannot be refused any more.
const std::vector<StepInfo>& Steps() {
  static const std::vector<StepInfo> steps = {
      {kClientSend, "client.send", {kDrop, kDelay, kDuplicate, kKill}},
      {kClientSent, "client.sent", {kDrop, kKill}},
      {kServerReceived, "server.received", {kDrop, kDelay, kDuplicate, kError, kKill}},
      {kServerParsed, "server.parsed", {kDrop, kDelay, kError, kKill}},
      {kLocked, "server.locked", {kDelay, kError, kKill}},
      {kChanging, "server.changing", {kError, kKill}},
      {kChanged, "server.changed", {kKill}},
      {kServerExecuted, "server.executed", {kDrop, kDelay, kDuplicate, kKill}},
      {kServerReplied, "server.replied", {kDrop, kKill}},
      {kClientAnswered, "client.answered", {kDrop, kDelay, kDuplicate, kKill}},
      {kServerAsking, "server.asking", {kDrop, kDelay, kDuplicate, kKill}},
      {kClientAsked, "client.asked", {kDrop, kDelay, kDuplicate, kKill}},
      {kClientAnswering, "client.answering", {kDrop, kDelay, kDuplicate, kKill}},
      {kServerHeard, "server.heard", {kDrop, kDelay, kKill}},
  };
  return steps;
}

const StepInfo& InfoOf(FaultStep step) { return Steps()[static_cast<size_t>(step)]; }

bool IsClientStep(FaultStep step) { return InfoOf(step).name.starts_with("client."); }

// Requests of the server.
bool IsAsk(FaultStep step) {
  return step == kServerAsking || step == kClientAsked || step == kClientAnswering ||
         step == kServerHeard;
}

bool InRange(Opcode opcode, uint16_t first) {
  const auto number = static_cast<uint16_t>(opcode);
  return number >= first && number < first + 100;
}

// The session's own: they are answered where they arrive. A map change is not answered for.
bool IsSessionOpcode(Opcode opcode) {
  return opcode == Opcode::kPing || opcode == Opcode::kGoodbye ||
         opcode == Opcode::kSetCredential;
}

bool LooksAtBytes(Opcode opcode) {
  switch (opcode) {
    case Opcode::kOstRead:
    case Opcode::kOstWrite:
    case Opcode::kOstGetAttr:
    case Opcode::kOstTruncate:
    case Opcode::kOstAllocate:
    case Opcode::kOstSeek:
      return true;
    default:
      return false;
  }
}

bool AskedBy(FaultNode node, Opcode opcode) {
  switch (opcode) {
    case Opcode::kLockCallback:
    case Opcode::kFileLockEvent:
      return node != FaultNode::kOss;
    case Opcode::kExtentCallback:
      return node != FaultNode::kMds;
    default:
      return false;
  }
}

bool Exists(FaultNode node, FaultStep step, Opcode opcode) {
  if (IsClientStep(step) != (node == FaultNode::kClient)) return false;
  if (IsAsk(step)) return AskedBy(node, opcode);
  const bool of_mds = InRange(opcode, 100);
  const bool of_oss = InRange(opcode, 200);
  if (node == FaultNode::kMds && of_oss) return false;
  if (node == FaultNode::kOss && (of_mds || opcode == Opcode::kSetCredential)) return false;
  if (IsSessionOpcode(opcode)) {
    return step == kServerReceived ||
           (opcode == Opcode::kSetCredential && IsClientStep(step));
  }
  if (!of_mds && !of_oss) return false;
  if (step == kLocked) return of_oss && LooksAtBytes(opcode);
  if (step == kChanging || step == kChanged) return IsMutating(opcode);
  return true;
}

std::optional<uint64_t> NumberOf(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr std::array kActionNames = {
    std::pair{kCount, std::string_view("count")},
    std::pair{kDrop, std::string_view("drop")},
    std::pair{kDelay, std::string_view("delay")},
    std::pair{kDuplicate, std::string_view("duplicate")},
    std::pair{kError, std::string_view("error")},
    std::pair{kKill, std::string_view("kill")}};

std::string OrderText(const FaultOrder& order) {
  std::string text(FaultPoints::NameOf(order.action));
  if (order.action == kDelay) text += fmt::format(",ms={}", order.delay_ms);
  return text + fmt::format(",count={},skip={}", order.count, order.skip);
}

}  // namespace

std::string_view FaultPoints::NameOf(FaultAction action) {
  for (const auto& [known, name] : kActionNames) {
    if (known == action) return name;
  }
  return "unknown";
}

std::string FaultPoints::NameOfPoint(const Point& point) {
  return fmt::format("{}.{}", InfoOf(point.step).name, rpc::NameOf(point.opcode));
}

std::vector<FaultPoints::Point> FaultPoints::PointsOf(FaultNode node) {
  std::vector<Point> points;
  for (const StepInfo& info : Steps()) {
    for (uint16_t number = 1; number < 400; ++number) {
      const auto opcode = static_cast<Opcode>(number);
      if (IsKnown(opcode) && Exists(node, info.step, opcode)) points.push_back({info.step, opcode});
    }
  }
  return points;
}

std::vector<std::string> FaultPoints::NamesOf(FaultNode node) {
  std::vector<std::string> names;
  for (const Point& point : PointsOf(node)) names.push_back(NameOfPoint(point));
  return names;
}

std::optional<FaultPoints::Point> FaultPoints::Find(FaultNode node, std::string_view name) {
  for (const Point& point : PointsOf(node)) {
    if (NameOfPoint(point) == name) return point;
  }
  return std::nullopt;
}

std::vector<FaultAction> FaultPoints::ActionsOf(std::string_view name) {
  const size_t dot = name.rfind('.');
  for (const StepInfo& info : Steps()) {
    if (info.name == name.substr(0, dot)) return info.actions;
  }
  return {};
}

Result<FaultOrder> FaultPoints::ParseOrder(std::string_view text) {
  FaultOrder order;
  bool first = true;
  while (!text.empty() || first) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (std::exchange(first, false)) {
      const auto known = std::ranges::find_if(
          kActionNames, [word](const auto& entry) { return entry.second == word; });
      if (known == kActionNames.end()) {
        return Fail(Errc::kInvalid, fmt::format("'{}' is no action: give count, drop, delay, "
                                                "duplicate, error or kill, then e.g. ,count=3",
                                                word));
      }
      order.action = known->first;
      continue;
    }
    const size_t equals = std::min(word.find('='), word.size());
    const std::string_view key = word.substr(0, equals);
    const auto value = NumberOf(word.substr(std::min(equals + 1, word.size())));
    uint64_t* const field = key == "count"  ? &order.count
                            : key == "skip" ? &order.skip
                            : key == "ms"   ? &order.delay_ms
                                            : nullptr;
    if (field == nullptr || !value) {
      return Fail(Errc::kInvalid,
                  fmt::format("'{}' cannot be read: give count=N, skip=N or ms=N", word));
    }
    *field = *value;
  }
  return order;
}

Status FaultPoints::Arm(std::string_view name, const FaultOrder& order) {
  const std::optional<Point> point = Find(node_, name);
  if (!point) {
    return Fail(Errc::kInvalid, fmt::format("'{}' is no fault point of this program; the parameter "
                                            "fault_points lists them",
                                            name));
  }
  const std::vector<FaultAction>& actions = InfoOf(point->step).actions;
  const bool applies = order.action == kCount || std::ranges::find(actions, order.action) !=
                                                     actions.end();
  if (!applies) {
    std::string those;
    for (const FaultAction action : actions) {
      those += fmt::format("{}{}", those.empty() ? "" : ", ", NameOf(action));
    }
    return Fail(Errc::kInvalid,
                fmt::format("{} cannot {}; it can {}", name, NameOf(order.action), those));
  }
  const std::scoped_lock lock(mutex_);
  points_[*point].order = order;
  NoteActive();
  return {};
}

void FaultPoints::Disarm() {
  const std::scoped_lock lock(mutex_);
  for (auto& [point, state] : points_) state.order.reset();
  NoteActive();
}

void FaultPoints::CountAll(bool on) {
  const std::scoped_lock lock(mutex_);
  counting_ = on;
  NoteActive();
}

void FaultPoints::NoteActive() {
  const bool armed = std::ranges::any_of(
      points_, [](const auto& entry) { return entry.second.order.has_value(); });
  active_.store(counting_ || armed, std::memory_order_relaxed);
}

std::optional<FaultOrder> FaultPoints::HitSlowly(FaultStep step, Opcode opcode) {
  FaultOrder order;
  {
    const std::scoped_lock lock(mutex_);
    State& state = points_[{step, opcode}];
    ++state.hits;
    if (!state.order) return std::nullopt;
    if (state.order->skip > 0) {
      --state.order->skip;
      return std::nullopt;
    }
    order = *state.order;
    if (order.count == 0) return std::nullopt;
    if (--state.order->count == 0) state.order.reset();
    NoteActive();
  }
  if (order.action == kCount) return std::nullopt;
  SHEEN_LOG(Warn, "fault point {}: {}", NameOfPoint({step, opcode}), NameOf(order.action));
  if (order.action != kKill) return order;
  if (!kill_) ::kill(::getpid(), SIGKILL);
  if (kill_) kill_();
  return order;
}

uint64_t FaultPoints::HitsOf(std::string_view name) const {
  const std::optional<Point> point = Find(node_, name);
  const std::scoped_lock lock(mutex_);
  const auto found = point ? points_.find(*point) : points_.end();
  return found == points_.end() ? 0 : found->second.hits;
}

std::string FaultPoints::ListText() const {
  std::string text;
  const std::vector<Point> points = PointsOf(node_);
  const std::scoped_lock lock(mutex_);
  for (const Point& point : points) {
    const auto found = points_.find(point);
    const bool known = found != points_.end();
    const bool armed = known && found->second.order.has_value();
    text += fmt::format("{} hits={}{}\n", NameOfPoint(point), known ? found->second.hits : 0,
                        armed ? " armed=" + OrderText(*found->second.order) : "");
  }
  return text;
}

}  // namespace sheen::rpc
