// What the transports know of a request in flight, and the table that finds it by the kernel's
// number for it (`unique`).
//
// Shard-confined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace sheen::fuse {

// Where a request lives.
enum class RequestHome : uint8_t {
  kClassic,   // a ClassicRequest
  kRing,      // a RingEntry
  kDetached,  // a DetachedRequest
};

// One request between its arrival and its reply. Owned by the transport that brought it, or, when
// detached from it, by the channel.
struct Request {
  uint64_t unique = 0;
  uint32_t opcode = 0;
  uint32_t caller = 0;      // the thread; 0: none that waits, or one that is not seen from here
  uint32_t open_flags = 0;  // added to the reply of OPEN or CREATE
  RequestHome home = RequestHome::kClassic;
  bool answered = false;
  // The kernel has its answer already; what the operation will answer goes nowhere.
  bool abandoned = false;
  bool held = false;         // not begun: it must not overtake a late one, or is to be admitted
  bool interrupted = false;  // a signal came to its caller
  bool killed = false;       // and it ends its caller
  uint8_t looks = 0;         // that found it waiting
  bool late = false;         // abandoned, and among the LateRequests
  size_t late_bytes = 0;     // that it is counted with
  Nanos began{0};            // monotonic; when it came to the operations
  // fuse_in_header, the operation's struct, and what follows it; contiguous.
  std::byte* message = nullptr;
  size_t message_bytes = 0;
};

// Whether a message of this opcode carries the wish to drop suid and sgid
// (FUSE_HANDLE_KILLPRIV_V2).
bool AsksToKillSuidgid(uint32_t opcode, ByteSpan message);

// Where a transport delivers.
class RequestSink {
 public:
  // Takes `request` until it is answered, which may be before this returns.
  virtual void OnRequest(Request* request) = 0;
  // FORGET, INTERRUPT and other messages that nobody answers. `message` is valid for the call.
  virtual void OnOneWay(MutableByteSpan message) = 0;
  // Requests come faster than this shard reads them: another should help.
  virtual void OnCrowded() = 0;
  // The callers run on `core`. True when the shard of that core reads from now on.
  virtual bool OnCallerElsewhere(int core) = 0;
  // The connection is over: nothing will arrive any more.
  virtual void OnGone() = 0;
  // Something that the kernel held came back: look whether all has.
  virtual void OnReleased() = 0;

 protected:
  ~RequestSink() = default;
};

// What is left of a request whose transport has its answer: the memory that the operation, which
// goes on, still reads and writes.
struct DetachedRequest final : Request {
  DetachedRequest() = default;
  ~DetachedRequest();
  std::vector<std::byte> copy;  // of the message
  // Or all of a ring entry's memory, unmapped in the end.
  std::byte* mapping = nullptr;
  size_t mapping_bytes = 0;
  MutableByteSpan reply_buffer;
};

// unique -> Request: open addressing with linear probing, deletion by shifting back (Knuth, The Art
// of Computer Programming, volume 3, 6.4, algorithm R).
class RequestTable final {
 public:
  RequestTable() : slots_(kSlotsMin) {}

  void Insert(Request* request) {
    if ((count_ + 1) * 2 > slots_.size()) Grow();
    Place(request);
    ++count_;
  }
  Request* Find(uint64_t unique) const {
    for (size_t i = Home(unique); slots_[i] != nullptr; i = Next(i)) {
      if (slots_[i]->unique == unique) return slots_[i];
    }
    return nullptr;
  }
  // nullptr when it is not there.
  Request* Take(uint64_t unique) {
    size_t hole = Home(unique);
    while (slots_[hole] != nullptr && slots_[hole]->unique != unique) hole = Next(hole);
    Request* const found = slots_[hole];
    if (found == nullptr) return nullptr;
    for (size_t i = Next(hole); slots_[i] != nullptr; i = Next(i)) {
      // A slot may fill the hole unless its home lies cyclically in (hole, i].
      const size_t home = Home(slots_[i]->unique);
      if (((i - home) & Mask()) < ((i - hole) & Mask())) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = nullptr;
    --count_;
    return found;
  }
  size_t size() const { return count_; }
  // `visit` must not change the table.
  void ForEach(const std::function<void(Request*)>& visit) const {
    for (Request* request : slots_) {
      if (request != nullptr) visit(request);
    }
  }

 private:
  static constexpr size_t kSlotsMin = 256;  // a power of two

  size_t Mask() const { return slots_.size() - 1; }
  // Multiplicative hashing by 2^64 / golden ratio: `unique` counts in steps of two.
  size_t Home(uint64_t unique) const { return ((unique * 0x9E3779B97F4A7C15ull) >> 32) & Mask(); }
  size_t Next(size_t i) const { return (i + 1) & Mask(); }
  void Place(Request* request) {
    size_t i = Home(request->unique);
    while (slots_[i] != nullptr) i = Next(i);
    slots_[i] = request;
  }
  void Grow() {
    std::vector<Request*> old(slots_.size() * 2);
    old.swap(slots_);
    for (Request* request : old) {
      if (request != nullptr) Place(request);
    }
  }

  std::vector<Request*> slots_;
  size_t count_ = 0;
};

}  // namespace sheen::fuse
