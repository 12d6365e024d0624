#include "apps/bench/ior_task.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
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
  Phase(const IorOptions& options, Access access, uint32_t task, TaskTimes* times,
        const BenchApi& api)
      : options_(options), access_(access), times_(times), file_(api.MakeFile()) {
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
    const Status opened =
        file_->Open(path_, {.write = access_ == Access::kWrite, .direct = options_.direct});
    if (!opened) return Failed("open", opened.error());
    open_ = true;
  }

  void Transfer() {
    if (!open_) return;
    for (const uint64_t index : order_) TransferOne(OffsetOf(index));
    if (access_ != Access::kWrite || !options_.fsync) return;
    const Status synced = file_->Sync();
    if (!synced) Failed("fsync", synced.error());
  }

  void Close() {
    if (!open_) return;
    const Status closed = file_->Close();
    if (!closed) Failed("close", closed.error());
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
      const std::span<std::byte> left(buffer_.get() + done, options_.transfer_bytes - done);
      const Result<size_t> n =
          write ? file_->WriteAt(offset + done, left) : file_->ReadAt(offset + done, left);
      if (!n || *n == 0) {
        return Failed(write ? "write" : "read",
                      n ? Error(Errc::kNoData, "the file ends here") : n.error());
      }
      done += *n;
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

  void Failed(const char* call, const Error& error) {
    if (times_->errors++ >= kBadWordsShown) return;
    const std::string more = error.message() == call ? "" : error.message() + ": ";
    fmt::print(stderr, "ERROR: {} {}: {}{}\n", call, path_, more,
               std::strerror(ErrnoOf(error.code())));
  }

  const IorOptions& options_;
  const Access access_;
  TaskTimes* const times_;
  uint32_t part_ = 0;  // the task whose part this is
  std::string path_;
  AlignedBytes buffer_;
  std::vector<uint64_t> order_;
  const std::unique_ptr<BenchFile> file_;
  bool open_ = false;
};

}  // namespace

std::string FileOf(const IorOptions& options, uint32_t task) {
  return options.file_per_process ? fmt::format("{}.{:08}", options.test_file, task)
                                  : options.test_file;
}

void RunPhase(const IorOptions& options, Access access, uint32_t task, SharedState* shared,
              const BenchApi& api) {
  TaskTimes* times = &shared->times[task];
  Phase phase(options, access, task, times, api);
  shared->Wait();  // whoever looks at the times of the phase before has come here too
  *times = {};
  times->open_begin = SecondsNow();
  phase.Open();
  times->open_end = SecondsNow();
  if (options.barriers) shared->Wait();
  times->transfer_begin = SecondsNow();
  phase.Transfer();
  times->transfer_end = SecondsNow();
  if (options.barriers) shared->Wait();
  times->close_begin = SecondsNow();
  phase.Close();
  times->close_end = SecondsNow();
  shared->Wait();
}

}  // namespace sheen::bench
