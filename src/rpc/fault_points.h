// Fault points: named places in the way of every request where a test can have something go wrong.
//
//   FaultPoints faults(FaultNode::kServer);
//   SHEEN_TRY(faults.Arm("server.executed.ost_write", {.action = FaultAction::kDrop, .count = 1}));
//
// A point is a step on the way (FaultStep) and an opcode; NamesOf() lists those that exist. A node
// (a daemon; in the simulator each server and client) has one FaultPoints, given to its rpc::Client
// or rpc::Server and its service. While nothing is armed a point costs one load.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "rpc/frame.h"
#include "sheen/result.h"

namespace sheen::rpc {

enum class FaultNode : uint8_t { kClient, kMds, kOss };

// In the order of a request's way.
enum class FaultStep : uint8_t {
  kClientSend,      // client: before a request is sent
  kClientSent,      // after it
  kServerReceived,  // server: a request is here, nothing of it was looked at
  kServerParsed,    // it may begin: checked, and no other of its number is running
  kLocked,          // OSS: nobody is in the way of its bytes; a lock may be granted with that
  kChanging,        // before its change is made (MDS: the batch)
  kChanged,         // after it
  kServerExecuted,  // before the reply is sent
  kServerReplied,   // after it
  kClientAnswered,  // client: the reply is here, nobody has been told
  kServerAsking,    // server: before a request of its own (a callback) is sent
  kClientAsked,     // client: it is here
  kClientAnswering,  // client: what it asks for is done, before the answer
  kServerHeard,     // server: the answer is here
};
inline constexpr int kFaultSteps = 14;

enum class FaultAction : uint8_t {
  kCount,      // nothing goes wrong; hits are counted
  kDrop,       // it goes no further: its connection ends
  kDelay,      // it goes on after delay_ms
  kDuplicate,  // twice
  kError,      // it is refused with kUnavailable, as by a server that cannot serve now
  kKill,       // the process dies
};

struct FaultOrder {
  FaultAction action = FaultAction::kCount;
  uint64_t count = 1;      // times it happens
  uint64_t skip = 0;       // hits that pass before
  uint64_t delay_ms = 100;  // of kDelay
};

class FaultPoints final {
 public:
  explicit FaultPoints(FaultNode node) : node_(node) {}
  FaultPoints(const FaultPoints&) = delete;
  FaultPoints& operator=(const FaultPoints&) = delete;

  // Errors: kInvalid (no such point here, or the action does not apply; the message says which do).
  Status Arm(std::string_view name, const FaultOrder& order);
  void Disarm();
  // Counts the hits of all points from now on.
  void CountAll(bool on);
  // What happens at kKill; the default is SIGKILL to this process. Before the first hit.
  void OnKill(std::function<void()> kill) { kill_ = std::move(kill); }

  // What is to happen now; kKill has been done (and counts as kDrop where a test outlives it).
  std::optional<FaultOrder> Hit(FaultStep step, Opcode opcode) {
    if (!active_.load(std::memory_order_relaxed)) return std::nullopt;
    return HitSlowly(step, opcode);
  }
  uint64_t HitsOf(std::string_view name) const;
  // One line a point: name, hits, and what it is armed with.
  std::string ListText() const;

  // Of a node, in order.
  static std::vector<std::string> NamesOf(FaultNode node);
  static std::vector<FaultAction> ActionsOf(std::string_view name);
  static std::string_view NameOf(FaultAction action);
  // "drop", "delay,ms=50,count=3,skip=1". Errors: kInvalid.
  static Result<FaultOrder> ParseOrder(std::string_view text);

 private:
  struct Point {
    FaultStep step;
    Opcode opcode;
    auto operator<=>(const Point&) const = default;
  };
  struct State {
    uint64_t hits = 0;
    std::optional<FaultOrder> order;
  };
  static std::string NameOfPoint(const Point& point);
  static std::optional<Point> Find(FaultNode node, std::string_view name);
  static std::vector<Point> PointsOf(FaultNode node);
  std::optional<FaultOrder> HitSlowly(FaultStep step, Opcode opcode);
  void NoteActive();

  const FaultNode node_;
  std::function<void()> kill_;
  std::atomic<bool> active_{false};
  mutable std::mutex mutex_;  // guards what follows
  bool counting_ = false;
  std::map<Point, State> points_;
};

}  // namespace sheen::rpc
