#include "apps/bench/ior_task.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "apps/bench/data_pattern.h"
#include "apps/bench/task_group.h"
#include "base/random.h"

namespace sheen::bench {
namespace {

constexpr uint64_t kBadWordsShown = 3;

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<std::byte[], FreeDeleter>;

// What one task does in one phase.
class Phase final {
 public:
  Phase(const IorOptions& options, Access access, uint32_t task, TaskTimes* times)
      : options_(options), access_(access), times_(times) {
    const bool shift = access == Access::kRead && options.reorder_tasks;
    part_ = shift ? (task + 1) % options.task_count : task;
    path_ = FileOf(options, part_);
    // First touch of memory is slow: done here, before the clock starts.
    void* memory = nullptr;
    if (posix_memalign(&memory, 4096, options.transfer_bytes) != 0) std::abort();
    std::memset(memory, 1, options.transfer_bytes);
    buffer_.reset(static_cast<std::byte*>(memory));
    order_.resize(options.transfers_per_task());
    std::iota(order_.begin(), order_.end(), 0);
    if (options.random_offset && access != Access::kCheckWrite) Shuffle(task);
  }

  void Open() {
    int flags = access_ == Access::kWrite ? O_CREAT | O_RDWR : O_RDONLY;
    if (options_.direct) flags |= O_DIRECT;
    file_ = open(path_.c_str(), flags, 0664);
    if (file_ < 0) Failed("open");
  }

  void Transfer() {
    if (file_ < 0) return;
    for (const uint64_t index : order_) TransferOne(OffsetOf(index));
    if (access_ == Access::kWrite && options_.fsync && fsync(file_) != 0) Failed("fsync");
  }

  void Close() {
    if (file_ >= 0 && close(file_) != 0) Failed("close");
  }

 private:
  void Shuffle(uint32_t task) {
    Random random(options_.random_seed * 4099 + task);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.Below(i)]);
  }

  uint64_t OffsetOf(uint64_t transfer) const {
    const uint64_t per_block = options_.block_bytes / options_.transfer_bytes;
    const uint64_t segment = transfer / per_block;
    const uint64_t in_block = transfer % per_block * options_.transfer_bytes;
    if (options_.file_per_process) return segment * options_.block_bytes + in_block;
    return (segment * options_.task_count + part_) * options_.block_bytes + in_block;
  }

  uint64_t Writer() const { return options_.file_per_process ? part_ + 1 : 0; }

  void TransferOne(uint64_t offset) {
    const bool write = access_ == Access::kWrite;
    if (write) FillPattern(offset);
    size_t done = 0;
    while (done < options_.transfer_bytes) {
      const size_t left = options_.transfer_bytes - done;
      const off_t at = static_cast<off_t>(offset + done);
      const ssize_t n = write ? pwrite(file_, buffer_.get() + done, left, at)
                              : pread(file_, buffer_.get() + done, left, at);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        if (n == 0) errno = ENODATA;
        Failed(write ? "write" : "read");
        return;
      }
      done += static_cast<size_t>(n);
    }
    if (access_ == Access::kCheckWrite || (access_ == Access::kRead && options_.check_read)) {
      CheckPattern(offset);
    }
  }

  void FillPattern(uint64_t offset) {
    auto* words = reinterpret_cast<uint64_t*>(buffer_.get());
    for (uint64_t i = 0; i < options_.transfer_bytes / 8; ++i)
      words[i] = PatternWord(Writer(), offset + i * 8);
  }

  void CheckPattern(uint64_t offset) {
    const auto* words = reinterpret_cast<const uint64_t*>(buffer_.get());
    for (uint64_t i = 0; i < options_.transfer_bytes / 8; ++i) {
      const uint64_t expected = PatternWord(Writer(), offset + i * 8);
      if (words[i] == expected) continue;
      if (times_->bad_words++ < kBadWordsShown) {
        fmt::print(stderr,
                   "ERROR: data mismatch in {} at offset {}: expected {:#018x}, found {:#018x}\n",
                   path_, offset + i * 8, expected, words[i]);
      }
    }
  }

  void Failed(const char* call) {
    if (times_->errors++ < kBadWordsShown) {
      fmt::print(stderr, "ERROR: {} {}: {}\n", call, path_, std::strerror(errno));
    }
  }

  const IorOptions& options_;
  const Access access_;
  TaskTimes* const times_;
  uint32_t part_ = 0;  // the task whose part this is
  std::string path_;
  AlignedBytes buffer_;
  std::vector<uint64_t> order_;
  int file_ = -1;
};

}  // namespace

std::string FileOf(const IorOptions& options, uint32_t task) {
  return options.file_per_process ? fmt::format("{}.{:08}", options.test_file, task)
                                  : options.test_file;
}

void RunPhase(const IorOptions& options, Access access, uint32_t task, SharedState* shared) {
  TaskTimes* times = &shared->times[task];
  *times = {};
  Phase phase(options, access, task, times);
  pthread_barrier_wait(&shared->barrier);
  times->open_begin = SecondsNow();
  phase.Open();
  times->open_end = SecondsNow();
  if (options.barriers) pthread_barrier_wait(&shared->barrier);
  times->transfer_begin = SecondsNow();
  phase.Transfer();
  times->transfer_end = SecondsNow();
  if (options.barriers) pthread_barrier_wait(&shared->barrier);
  times->close_begin = SecondsNow();
  phase.Close();
  times->close_end = SecondsNow();
  pthread_barrier_wait(&shared->barrier);
}

}  // namespace sheen::bench
