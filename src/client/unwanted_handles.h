// UnwantedHandles: handles that the MDS gives, or may have given, to an open or create that nobody
// waits for any more (a deadline, a signal). They are closed: else the file, and once it is removed
// its objects, would stay for as long as this mount does.
//
//   asked -> answered: the opener's
//         -> given up -> the server cannot be executing it any more: closed
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "async/task.h"
#include "fid/fid.h"
#include "rpc/client.h"

namespace sheen::client {

class ShardContext;

class UnwantedHandles final : public std::enable_shared_from_this<UnwantedHandles> {
 public:
  class Asked final {
   public:
    Asked(std::weak_ptr<UnwantedHandles> handles, const Fid& fid, uint64_t handle);
    ~Asked();
    Asked(const Asked&) = delete;
    Asked& operator=(const Asked&) = delete;
    // The opener has heard, one way or the other.
    void Answered() { answered_ = true; }

   private:
    const std::weak_ptr<UnwantedHandles> handles_;  // a call may outlive them
    const Fid fid_;
    const uint64_t handle_;
    bool answered_ = false;
  };

  explicit UnwantedHandles(ShardContext* context) : context_(context) {}
  // `call` asks for the handle.
  std::shared_ptr<Asked> Ask(const Fid& fid, uint64_t handle, rpc::Call* call);
  // A create may have opened another file than it would have made.
  void NoteLateAnswer(const rpc::Call& call, const rpc::Answer& answer);

 private:
  void Close(Fid fid, uint64_t handle);
  async::Task<void> CloseAll();

  ShardContext* const context_;
  std::deque<std::pair<Fid, uint64_t>> unwanted_;
  std::map<uint64_t, Fid> opened_;  // by handle, what late answers have said
  bool closing_ = false;
};

}  // namespace sheen::client
