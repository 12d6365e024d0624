// The ring entries of one core.
//
// Shard-confined.
#pragma once

#include <memory>
#include <vector>

#include "fuse/transport_uring.h"

namespace sheen::fuse {

// Beyond it requests wait in the kernel: 4,096 parked callers on one core.
inline constexpr size_t kEntriesMax = 4096;
// A queue keeps so many with the kernel.
inline constexpr size_t kSpareEntries = 2;
// A kick that has not come by then is made again, then after twice as long.
inline constexpr Nanos kKickPatience = std::chrono::milliseconds(20);

class RingQueue final : public io::TurnEnd {
 public:
  RingQueue(uint16_t id, RingContext* context) : id_(id), context_(context) {}
  ~RingQueue();
  RingQueue(const RingQueue&) = delete;
  RingQueue& operator=(const RingQueue&) = delete;

  Status Start();
  void OnCompletion(RingEntry* entry, int32_t result);
  ssize_t SendReply(RingEntry* entry, iovec* iov, int count);
  std::unique_ptr<DetachedRequest> Detach(RingEntry* entry);
  void OnTurnEnd() override;
  size_t held_by_kernel() const { return with_kernel_; }

 private:
  struct Chunk {
    std::byte* memory;
    size_t bytes;
  };

  size_t Stride() const;
  Status AddChunk(size_t count);
  void Place(RingEntry* entry, std::byte* page);
  void Register(RingEntry* entry);
  void Submit(RingEntry* entry, kernel::RingCommand command);
  void OnRequest(RingEntry* entry);
  bool RegisterAgain(RingEntry* entry, int error_number);
  void OnFailure(int error_number);
  bool AnswerKick(RingEntry* entry, uint32_t caller);
  void KeepSpareEntries();
  void GuardLater();
  bool KernelIsDrained() const;
  void LookForProof();
  void FetchBacklog();
  void Kick();
  void CheckAtTurnEnd();
  void ReleaseMemoryLater(RingEntry* entry);
  void ReleaseMemory();

  const uint16_t id_;
  RingContext* const context_;
  std::vector<Chunk> chunks_;
  std::vector<std::unique_ptr<RingEntry>> entries_;
  std::vector<RingEntry*> unregistered_;
  size_t with_kernel_ = 0;
  bool check_scheduled_ = false;
  bool guard_scheduled_ = false;
  Nanos refused_until_{0};  // the kernel had no memory for a further entry
  uint64_t commits_ = 0;
  bool full_logged_ = false;
  bool broken_ = false;  // the kernel refuses entries

  // Whether a request may wait in the kernel for an entry. A commit whose entry stayed with the
  // kernel proves that none waited when it was executed; and none can begin to before all entries
  // have been taken that were there then: that one, and those of earlier turns. Each that is taken
  // completes sooner or later, so the last of them tells. (An entry that is taken may look free
  // for a while: the kernel completes it outside of its lock.)
  uint64_t turn_ = 1;
  uint64_t proof_turn_ = 0;  // of that commit
  const RingEntry* proof_ = nullptr;  // its entry while the kernel has it
  size_t survivors_ = 0;     // of those that were there
  // with_kernel_ counts them; of this and of the previous turn.
  size_t queued_this_turn_ = 0;
  size_t queued_last_turn_ = 0;
  bool backlog_possible_ = false;
  bool kick_under_way_ = false;
  uint64_t kicks_ = 0;
  Nanos kick_patience_ = kKickPatience;
  RingEntry* committed_this_turn_ = nullptr;
  RingEntry* committed_last_turn_ = nullptr;

  std::vector<RingEntry*> release_;  // used entries beyond the base, to give memory back
  bool release_scheduled_ = false;
};

}  // namespace sheen::fuse
