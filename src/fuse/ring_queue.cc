#include "fuse/ring_queue.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace sheen::fuse {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kGrowEntries = 8;
constexpr Nanos kKickPatienceMax = std::chrono::seconds(1);
constexpr Nanos kBacklogGuard = std::chrono::milliseconds(200);
constexpr Nanos kRegisterPause = std::chrono::milliseconds(50);
constexpr Nanos kReleaseDelay = std::chrono::seconds(1);

// Puts what follows the out header at `destination`; parts that are there already stay.
void Gather(std::byte* destination, const iovec* iov, int count) {
  for (int i = 1; i < count; ++i) {
    if (iov[i].iov_base != destination) std::memmove(destination, iov[i].iov_base, iov[i].iov_len);
    destination += iov[i].iov_len;
  }
}

size_t BytesAfterHeader(const iovec* iov, int count) {
  size_t bytes = 0;
  for (int i = 1; i < count; ++i) bytes += iov[i].iov_len;
  return bytes;
}

// Memory of `bytes` that can be mapped twice; nullptr when there is none.
std::byte* MapShareable(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

// The same memory at a further place: mremap(2) of 0 bytes of a shared mapping copies the mapping.
std::byte* MapAgain(std::byte* memory, size_t bytes) {
  void* again = mremap(memory, 0, bytes, MREMAP_MAYMOVE);
  return again == MAP_FAILED ? nullptr : static_cast<std::byte*>(again);
}

}  // namespace

void RingEntry::Complete(int32_t result, uint32_t) { queue->OnCompletion(this, result); }

RingQueue::~RingQueue() {
  for (const Chunk& chunk : chunks_) munmap(chunk.memory, chunk.bytes);
  for (const auto& entry : entries_) munmap(entry->page, Stride());
}

size_t RingQueue::Stride() const { return kPageBytes + context_->options.payload_bytes; }

Status RingQueue::Start() {
  SHEEN_TRY(AddChunk(context_->options.base_entries));
  while (!unregistered_.empty()) {
    Register(unregistered_.back());
    unregistered_.pop_back();
  }
  // No request has come yet. Should some come between two of these, GuardLater finds those that
  // are left waiting; a kick now could be in the way of an umount.
  proof_turn_ = turn_ + 1;
  survivors_ = with_kernel_;
  return {};
}

Status RingQueue::AddChunk(size_t count) {
  const size_t bytes = count * Stride();
  std::byte* const kernels = MapShareable(bytes);
  if (kernels == nullptr) return FailErrno(errno, "memory for FUSE ring entries");
  std::byte* const ours = MapAgain(kernels, bytes);
  if (ours == nullptr) {
    const int failed = errno;
    munmap(kernels, bytes);
    return FailErrno(failed, "memory for FUSE ring entries");
  }
  chunks_.push_back({kernels, bytes});
  const bool beyond_base = !entries_.empty();
  for (size_t i = 0; i < count; ++i) {
    auto entry = std::make_unique<RingEntry>();
    entry->home = RequestHome::kRing;
    entry->queue = this;
    entry->kernel_page = kernels + i * Stride();
    entry->vectors[0] = {.iov_base = entry->kernel_page, .iov_len = sizeof(kernel::RingHeader)};
    entry->vectors[1] = {.iov_base = entry->kernel_page + kPageBytes,
                         .iov_len = context_->options.payload_bytes};
    entry->beyond_base = beyond_base;
    Place(entry.get(), ours + i * Stride());
    unregistered_.push_back(entry.get());
    entries_.push_back(std::move(entry));
  }
  return {};
}

void RingQueue::Place(RingEntry* entry, std::byte* page) {
  entry->page = page;
  entry->header = reinterpret_cast<kernel::RingHeader*>(page);
  entry->payload = page + kPageBytes;
}

void RingQueue::Register(RingEntry* entry) {
  Submit(entry, kernel::RingCommand::kRegister);
  context_->counters.entries.fetch_add(1, std::memory_order_relaxed);
  if (entry->beyond_base) context_->counters.grown.fetch_add(1, std::memory_order_relaxed);
}

void RingQueue::Submit(RingEntry* entry, kernel::RingCommand command) {
  io_uring_sqe* sqe = context_->poller->NextSqe();
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = context_->options.descriptor;
  sqe->cmd_op = static_cast<uint32_t>(command);
  if (command == kernel::RingCommand::kRegister) {
    sqe->addr = reinterpret_cast<uintptr_t>(entry->vectors);
    sqe->len = 2;
  }
  const kernel::RingCommandArea area{
      .flags = 0, .commit_id = entry->commit_id, .queue_id = id_, .padding = {}};
  std::memcpy(sqe->cmd, &area, sizeof area);
  io::UringPoller::Attach(sqe, entry);
  entry->with_kernel = true;
  entry->submit_turn = turn_;
  ++with_kernel_;
  ++queued_this_turn_;
  CheckAtTurnEnd();
}

void RingQueue::OnCompletion(RingEntry* entry, int32_t result) {
  entry->with_kernel = false;
  --with_kernel_;
  if (entry->submit_turn == turn_) --queued_this_turn_;
  if (entry->submit_turn + 1 == turn_) --queued_last_turn_;
  const bool was_there = entry == proof_ || entry->submit_turn < proof_turn_;
  if (entry == proof_) proof_ = nullptr;
  if (was_there && --survivors_ == 0) backlog_possible_ = true;
  if (result != 0) {
    if (!RegisterAgain(entry, -result)) OnFailure(-result);
    return;
  }
  entry->registered = true;
  CheckAtTurnEnd();
  OnRequest(entry);
}

// The kernel had no memory for an entry: true, and it is given again a little later.
bool RingQueue::RegisterAgain(RingEntry* entry, int error_number) {
  const bool passing = error_number == ENOMEM || error_number == EAGAIN || error_number == EINTR;
  if (!passing || entry->registered || context_->gone) return false;
  unregistered_.push_back(entry);
  context_->counters.entries.fetch_sub(1, std::memory_order_relaxed);
  if (entry->beyond_base) context_->counters.grown.fetch_sub(1, std::memory_order_relaxed);
  refused_until_ = context_->shard->Now() + kRegisterPause;
  context_->shard->AddTimer(refused_until_, [this] { CheckAtTurnEnd(); });
  return true;
}

void RingQueue::OnFailure(int error_number) {
  if (error_number == ENOTCONN || error_number == ECONNABORTED || error_number == ECANCELED) {
    if (!context_->gone) context_->sink->OnGone();
  } else if (!broken_) {
    broken_ = true;
    SHEEN_LOG(Error, "FUSE ring of core {}: the kernel refuses an entry: {}", id_,
              std::strerror(error_number));
  }
  context_->sink->OnReleased();
}

void RingQueue::OnRequest(RingEntry* entry) {
  fuse_in_header header;
  std::memcpy(&header, entry->header->in_out, sizeof header);
  const size_t payload = entry->header->entry.payload_bytes;
  entry->commit_id = entry->header->entry.commit_id;
  const size_t head_bytes = header.len - payload;
  const bool valid = header.len >= payload && head_bytes >= sizeof header &&
                     head_bytes <= sizeof header + kernel::kRingOpInBytes &&
                     payload <= context_->options.payload_bytes;
  entry->unique = header.unique;
  entry->opcode = header.opcode;
  entry->caller = header.pid;
  entry->open_flags = 0;
  entry->answered = false;
  entry->held = false;
  entry->interrupted = false;
  entry->looks = 0;
  if (!valid) {
    SHEEN_LOG(Error, "FUSE ring of core {}: request {} of {} bytes with {} of payload is malformed",
              id_, header.opcode, header.len, payload);
    fuse_out_header out{.len = sizeof out, .error = -EIO, .unique = header.unique};
    iovec iov{.iov_base = &out, .iov_len = sizeof out};
    SendReply(entry, &iov, 1);
    return;
  }
  entry->message = entry->payload - head_bytes;
  entry->message_bytes = header.len;
  std::memcpy(entry->message, &header, sizeof header);
  std::memcpy(entry->message + sizeof header, entry->header->op_in, head_bytes - sizeof header);
  if (AnswerKick(entry, header.pid)) return;
  context_->sink->OnRequest(entry);
}

bool RingQueue::AnswerKick(RingEntry* entry, uint32_t caller) {
  if (!context_->kicker->IsKick(caller)) return false;
  kick_under_way_ = false;
  kick_patience_ = kKickPatience;
  fuse_out_header out{.len = sizeof out, .error = -ENODATA, .unique = entry->unique};
  iovec iov{.iov_base = &out, .iov_len = sizeof out};
  SendReply(entry, &iov, 1);
  return true;
}

ssize_t RingQueue::SendReply(RingEntry* entry, iovec* iov, int count) {
  entry->answered = true;
  if (context_->gone) {
    errno = ENOENT;
    return -1;
  }
  fuse_out_header out;
  std::memcpy(&out, iov[0].iov_base, sizeof out);
  size_t bytes = BytesAfterHeader(iov, count);
  if (bytes > context_->options.payload_bytes) {
    SHEEN_LOG(Error, "FUSE reply of {} bytes to request {} is longer than max_write", bytes,
              entry->opcode);
    out.error = -EIO;
    bytes = 0;
  } else {
    Gather(entry->payload, iov, count);
  }
  out.len = static_cast<uint32_t>(sizeof out + bytes);
  std::memcpy(entry->header->in_out, &out, sizeof out);
  entry->header->entry.payload_bytes = static_cast<uint32_t>(bytes);
  if (entry->beyond_base && std::max(bytes, entry->message_bytes) > kPageBytes) {
    ReleaseMemoryLater(entry);
  }
  Submit(entry, kernel::RingCommand::kCommitAndFetch);
  committed_this_turn_ = entry;
  ++commits_;
  return static_cast<ssize_t>(out.len);
}

std::unique_ptr<DetachedRequest> RingQueue::Detach(RingEntry* entry) {
  std::byte* const fresh = MapShareable(Stride());
  std::byte* const ours = fresh != nullptr ? MapAgain(fresh, Stride()) : nullptr;
  // Replaces what was there. The kernel does not look there before the commit.
  const bool placed = ours != nullptr && mremap(fresh, Stride(), Stride(),
                                                MREMAP_MAYMOVE | MREMAP_FIXED,
                                                entry->kernel_page) != MAP_FAILED;
  if (!placed) {
    if (fresh != nullptr) munmap(fresh, Stride());
    if (ours != nullptr) munmap(ours, Stride());
    return nullptr;
  }
  auto detached = std::make_unique<DetachedRequest>();
  static_cast<Request&>(*detached) = *entry;
  detached->home = RequestHome::kDetached;
  detached->mapping = entry->page;
  detached->mapping_bytes = Stride();
  detached->reply_buffer = {entry->payload, context_->options.payload_bytes};
  Place(entry, ours);
  entry->message_bytes = 0;
  fuse_out_header out{.len = sizeof out, .error = -EINTR, .unique = entry->unique};
  iovec iov{.iov_base = &out, .iov_len = sizeof out};
  SendReply(entry, &iov, 1);
  return detached;
}

void RingQueue::CheckAtTurnEnd() {
  if (check_scheduled_) return;
  check_scheduled_ = true;
  context_->poller->AtTurnEnd(this);
}

void RingQueue::OnTurnEnd() {
  check_scheduled_ = false;
  if (context_->gone || broken_) return;
  if (KernelIsDrained()) LookForProof();
  if (backlog_possible_) FetchBacklog();
  KeepSpareEntries();
  committed_last_turn_ = std::exchange(committed_this_turn_, nullptr);
  queued_last_turn_ = std::exchange(queued_this_turn_, 0);
  ++turn_;
  if (backlog_possible_) CheckAtTurnEnd();
  GuardLater();
}

// While requests are parked and nothing is answered, nobody fetches what the kernel may keep
// waiting. Should that have been missed, it is looked for after this time.
void RingQueue::GuardLater() {
  const bool parked = entries_.size() > with_kernel_ + unregistered_.size();
  if (!parked || std::exchange(guard_scheduled_, true)) return;
  context_->shard->AddTimer(context_->shard->Now() + kBacklogGuard, [this, commits = commits_] {
    guard_scheduled_ = false;
    if (context_->gone || broken_) return;
    if (commits == commits_) backlog_possible_ = true;
    CheckAtTurnEnd();
  });
}

bool RingQueue::KernelIsDrained() const {
  const io_uring* ring = context_->poller->ring();
  return io_uring_cq_ready(ring) == 0 &&
         (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0;
}

// REQUIRES: the kernel is drained. A commit fetches the next waiting request at once; one whose
// entry is still with the kernel found none.
void RingQueue::LookForProof() {
  const RingEntry* const last = committed_last_turn_;
  if (last == nullptr || !last->with_kernel || last->submit_turn + 1 != turn_) return;
  backlog_possible_ = false;
  proof_ = last;
  proof_turn_ = last->submit_turn;
  survivors_ = with_kernel_ - queued_this_turn_ - queued_last_turn_ + 1;
}

void RingQueue::KeepSpareEntries() {
  if (context_->shard->Now() < refused_until_) return;
  while (with_kernel_ < kSpareEntries) {
    if (unregistered_.empty()) {
      const size_t count = std::min(kGrowEntries, kEntriesMax - entries_.size());
      if (count == 0 || !AddChunk(count)) {
        if (!full_logged_) {
          SHEEN_LOG(Warn, "FUSE ring of core {}: {} requests are waiting, no more are taken", id_,
                    entries_.size());
        }
        full_logged_ = true;
        return;
      }
    }
    Register(unregistered_.back());
    unregistered_.pop_back();
  }
}

void RingQueue::FetchBacklog() {
  const bool commit_under_way =
      committed_this_turn_ != nullptr ||
      (committed_last_turn_ != nullptr && committed_last_turn_->with_kernel);
  if (!commit_under_way && !kick_under_way_) Kick();
}

void RingQueue::Kick() {
  kick_under_way_ = true;
  const uint64_t number = ++kicks_;
  context_->counters.kicks.fetch_add(1, std::memory_order_relaxed);
  context_->kicker->Kick(id_);
  // The kick itself may have found no entry, or another filesystem at the mount point.
  context_->shard->AddTimer(context_->shard->Now() + kick_patience_, [this, number] {
    if (number != kicks_ || !kick_under_way_) return;
    kick_under_way_ = false;
    kick_patience_ = std::min(2 * kick_patience_, kKickPatienceMax);
    CheckAtTurnEnd();
  });
}

void RingQueue::ReleaseMemoryLater(RingEntry* entry) {
  // Only where the kernel fills entries nowhere but in our own io_uring_enter may memory be given
  // back between two of them.
  if ((context_->poller->ring()->flags & IORING_SETUP_DEFER_TASKRUN) == 0) return;
  if (entry->release_listed) return;
  entry->release_listed = true;
  release_.push_back(entry);
  if (release_scheduled_) return;
  release_scheduled_ = true;
  context_->shard->AddTimer(context_->shard->Now() + kReleaseDelay, [this] { ReleaseMemory(); });
}

void RingQueue::ReleaseMemory() {
  release_scheduled_ = false;
  // An unreaped completion may be that of an entry that has just been filled; and while commands
  // are queued the kernel has not read the replies yet.
  io_uring* ring = context_->poller->ring();
  const bool overflown = (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
  if (io_uring_cq_ready(ring) != 0 || overflown || io_uring_sq_ready(ring) != 0) {
    release_scheduled_ = true;
    context_->shard->AddTimer(context_->shard->Now() + kReleaseDelay / 10,
                              [this] { ReleaseMemory(); });
    return;
  }
  for (RingEntry* entry : release_) {
    entry->release_listed = false;
    if (!entry->with_kernel) continue;  // in use again; listed again by its reply
    // From both places.
    madvise(entry->payload, context_->options.payload_bytes, MADV_REMOVE);
  }
  release_.clear();
}

}  // namespace sheen::fuse
