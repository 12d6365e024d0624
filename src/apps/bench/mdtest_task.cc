#include "apps/bench/mdtest_task.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include "apps/bench/data_pattern.h"
#include "apps/bench/task_group.h"

namespace sheen::bench {
namespace {

constexpr uint64_t kErrorsShown = 3;

class Phase final {
 public:
  Phase(const MdtestOptions& options, MdtestPhase phase, uint32_t iteration, uint32_t task,
        MdtestSlot* slot)
      : options_(options), phase_(phase), iteration_(iteration), task_(task), slot_(slot) {
    owner_ = (task + uint64_t{StridesOf(phase)} * options.stride) % options.task_count;
    tree_ = MdtestTreeOf(options, iteration, owner_);
    if (phase == MdtestPhase::kFileCreate) buffer_.resize(options.write_bytes);
    if (phase == MdtestPhase::kFileRead) buffer_.resize(options.read_bytes);
  }

  void Run() {
    if (phase_ == MdtestPhase::kTreeCreate || phase_ == MdtestPhase::kTreeRemove) {
      if (task_ == 0) EachTree();
      return;
    }
    for (uint32_t item = 0; item < options_.items; ++item) One(item);
  }

 private:
  static uint32_t StridesOf(MdtestPhase phase) {
    switch (phase) {
      case MdtestPhase::kDirectoryStat:
      case MdtestPhase::kFileStat:
        return 1;
      case MdtestPhase::kFileRead:
        return 2;
      case MdtestPhase::kDirectoryRemove:
      case MdtestPhase::kFileRemove:
        return 3;
      default:
        return 0;
    }
  }

  void EachTree() {
    const uint32_t trees = options_.unique_directory ? options_.task_count : 1;
    const std::string top = fmt::format("{}/test-dir.0-{}", options_.directory, iteration_);
    const bool create = phase_ == MdtestPhase::kTreeCreate;
    if (create) Check(mkdir(top.c_str(), 0755), "mkdir", top);
    for (uint32_t i = 0; i < trees; ++i) {
      const std::string tree = MdtestTreeOf(options_, iteration_, i);
      if (create) Check(mkdir(tree.c_str(), 0755), "mkdir", tree);
      if (!create) Check(rmdir(tree.c_str()), "rmdir", tree);
    }
    if (!create) Check(rmdir(top.c_str()), "rmdir", top);
  }

  void One(uint32_t item) {
    const bool file = phase_ >= MdtestPhase::kFileCreate;
    const std::string path =
        fmt::format("{}/{}.mdtest.{}.{}", tree_, file ? "file" : "dir", owner_, item);
    switch (phase_) {
      case MdtestPhase::kDirectoryCreate:
        return Check(mkdir(path.c_str(), 0755), "mkdir", path);
      case MdtestPhase::kDirectoryStat:
      case MdtestPhase::kFileStat:
        return Stat(path, file);
      case MdtestPhase::kDirectoryRemove:
        return Check(rmdir(path.c_str()), "rmdir", path);
      case MdtestPhase::kFileCreate:
        return Create(path, item);
      case MdtestPhase::kFileRead:
        return Read(path, item);
      case MdtestPhase::kFileRemove:
        return Check(unlink(path.c_str()), "unlink", path);
      default:
        return;
    }
  }

  void Create(const std::string& path, uint32_t item) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0664);
    if (fd < 0) return Check(fd, "create", path);
    if (!buffer_.empty()) {
      FillPattern(WriterOf(item), 0, buffer_);
      if (!Transfer(path, [fd](std::span<std::byte> left, off_t at) {
            return pwrite(fd, left.data(), left.size(), at);
          })) {
        Check(-1, "write", path);
      }
    }
    Check(close(fd), "close", path);
  }

  void Read(const std::string& path, uint32_t item) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Check(fd, "open", path);
    if (!buffer_.empty()) {
      if (!Transfer(path, [fd](std::span<std::byte> left, off_t at) {
            return pread(fd, left.data(), left.size(), at);
          })) {
        Check(-1, "read", path);
      } else if (const auto wrong = FirstWrong(WriterOf(item), 0, buffer_)) {
        Bad(fmt::format("data mismatch in {} at offset {}: expected {:#018x}, found {:#018x}", path,
                        wrong->offset, wrong->expected, wrong->found));
      }
    }
    Check(close(fd), "close", path);
  }

  // By as many calls as it takes. False with errno when one fails, or the file ends before.
  template <class Call>
  bool Transfer(const std::string&, Call call) {
    size_t done = 0;
    while (done < buffer_.size()) {
      const ssize_t n = call(std::span(buffer_).subspan(done), static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n == 0) errno = ENODATA;
      if (n <= 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  }

  void Stat(const std::string& path, bool file) {
    struct stat attr {};
    if (stat(path.c_str(), &attr) != 0) return Check(-1, "stat", path);
    if (file != S_ISREG(attr.st_mode)) {
      return Bad(fmt::format("{} is no {}", path, file ? "file" : "directory"));
    }
    if (file && options_.write_bytes > 0 &&
        static_cast<uint64_t>(attr.st_size) != options_.write_bytes) {
      Bad(fmt::format("{} has {} bytes, not {}", path, attr.st_size, options_.write_bytes));
    }
  }

  uint64_t WriterOf(uint32_t item) const { return (uint64_t{owner_} << 32) + item + 1; }

  void Check(int result, const char* call, const std::string& path) {
    const int failed = errno;
    if (result >= 0) return;
    if (slot_->errors++ < kErrorsShown) {
      fmt::print(stderr, "ERROR: {} {}: {}\n", call, path, std::strerror(failed));
    }
  }

  void Bad(const std::string& what) {
    if (slot_->bad_files++ < kErrorsShown) fmt::print(stderr, "ERROR: {}\n", what);
  }

  const MdtestOptions& options_;
  const MdtestPhase phase_;
  const uint32_t iteration_;
  const uint32_t task_;
  MdtestSlot* const slot_;
  uint32_t owner_ = 0;  // the task that made what this one works on
  std::string tree_;
  std::vector<std::byte> buffer_;
};

}  // namespace

std::vector<MdtestPhase> MdtestPhasesOf(const MdtestOptions& options) {
  std::vector<MdtestPhase> out;
  const auto add = [&out](bool wanted, MdtestPhase phase) {
    if (wanted) out.push_back(phase);
  };
  const bool directories = options.directories;
  const bool files = options.files;
  add(options.create, MdtestPhase::kTreeCreate);
  add(directories && options.create, MdtestPhase::kDirectoryCreate);
  add(directories && options.stat, MdtestPhase::kDirectoryStat);
  add(directories && options.remove, MdtestPhase::kDirectoryRemove);
  add(files && options.create, MdtestPhase::kFileCreate);
  add(files && options.stat, MdtestPhase::kFileStat);
  add(files && options.read, MdtestPhase::kFileRead);
  add(files && options.remove, MdtestPhase::kFileRemove);
  add(options.remove, MdtestPhase::kTreeRemove);
  return out;
}

uint64_t MdtestOperationsOf(const MdtestOptions& options, MdtestPhase phase) {
  if (phase == MdtestPhase::kTreeCreate || phase == MdtestPhase::kTreeRemove) {
    return 1 + (options.unique_directory ? options.task_count : 1);
  }
  return options.items_total();
}

std::string MdtestTreeOf(const MdtestOptions& options, uint32_t iteration, uint32_t task) {
  return fmt::format("{}/test-dir.0-{}/mdtest_tree.{}", options.directory, iteration,
                     options.unique_directory ? task : 0);
}

void RunMdtestPhase(const MdtestOptions& options, MdtestPhase phase, uint32_t iteration,
                    uint32_t task, MdtestSlot* slot) {
  Phase run(options, phase, iteration, task, slot);
  slot->begin = SecondsNow();
  run.Run();
  slot->end = SecondsNow();
}

}  // namespace sheen::bench
